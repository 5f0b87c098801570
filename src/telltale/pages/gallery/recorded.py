"""Recorded runs for the gallery: real loops on a busy machine, with the time left as it would have been told.

`recorded_runs.json` says when each loop had finished how many items. The tests of the time left judge it by the same
runs. A run is played at any speed: counts and durations stay those of the recording, and the page's clock is faster.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from telltale.core.estimate import Pace
from telltale.core.states import State

FILE: Final = Path(__file__).with_name("recorded_runs.json")
TICK_S: Final = 0.1
"""The time between two looks of a worker's reporter at a task."""
BEAT_S: Final = 8.0
"""The time after which a worker publishes a task again that does not change."""
PAUSE_S: Final = 5.0
"""The time between the end of a run and its next beginning, by the page's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a page is told at a moment of a run. Times are in seconds since its start."""

    at_s: float
    moved_s: float
    """When the last item was finished."""
    done: int
    remaining_s: float | None
    remaining_spread: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A run from its first moment to its end."""

    name: str
    total: int
    end_s: float
    moments: tuple[Moment, ...]
    """Ascending: what was published."""

    def columns(self, now: float, *, speed: float) -> dict[str, Any]:
        """Return the columns of the task's row at `now` (seconds since 1970), played `speed` times as fast.

        The run begins again some seconds after its end, as the next attempt.
        """
        attempt, elapsed_s = divmod(now, self.end_s / speed + PAUSE_S)
        at_s = elapsed_s * speed
        common = {"label": self.name.capitalize(), "attempt": int(attempt % 1_000_000) + 1, "seq": int(at_s / TICK_S)}
        if at_s >= self.end_s:
            ended_at = now - (elapsed_s - self.end_s / speed)
            times = {"started_at": ended_at - self.end_s, "ended_at": ended_at}
            return {**common, "state": State.SUCCEEDED, "progress": self._progress(self.total), **times}
        moment = self.moments[max(0, bisect_right(self.moments, at_s, key=lambda it: it.at_s) - 1)]
        left_s = moment.remaining_s
        return {
            **common,
            "state": State.RUNNING,
            "started_at": now - at_s,
            "moved_at": now - max(0.0, at_s - moment.moved_s),
            "beat_at": now,
            "lease_until": now + 100,
            "progress": self._progress(moment.done),
            "remaining_s": None if left_s is None else max(0.0, left_s - (at_s - moment.at_s)),
            "remaining_spread": moment.remaining_spread,
        }

    def _progress(self, done: int) -> dict[str, Any]:
        return {"current": done, "total": self.total, "unit": "items", "fraction": done / self.total}


@cache
def recorded_runs() -> tuple[RecordedRun, ...]:
    """Return all recorded runs."""
    return tuple(
        RecordedRun(
            name=record["name"],
            total=record["total"],
            end_s=record["points"][-1][0],
            moments=tuple(_moments(record["points"], record["total"])),
        )
        for record in json.loads(FILE.read_text(encoding="utf-8"))
    )


def _moments(points: list[tuple[float, int]], total: int) -> Iterator[Moment]:
    """Yield what a worker would have published: each change, and a beat while there is none."""
    pace, next_point, done, moved_s, published, published_s = Pace(), 0, 0, 0.0, -1, 0.0
    for tick in range(int(points[-1][0] / TICK_S) + 1):
        now = tick * TICK_S
        while next_point < len(points) and points[next_point][0] <= now:
            moved_s, done = points[next_point]
            next_point += 1
        if done == published and now - published_s < BEAT_S:
            continue
        published, published_s = done, now
        pace.add(done / total, now=now)
        left_s = pace.remaining_s(now=now)
        yield Moment(at_s=now, moved_s=moved_s, done=done, remaining_s=left_s, remaining_spread=pace.spread)
