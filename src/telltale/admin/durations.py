"""How long tasks took, by name: the median and the 95th percentile, in all and over time.

They are read from the tasks that ended last, up to `READ`, by one query of an index. Only the durations of runs that
succeeded are of use; the others are counted.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Final

from telltale import store
from telltale.core.states import State

READ: Final = 10_000
"""At most this many tasks are read, those that ended last."""

NAMES: Final = 50
"""At most this many names are listed, those with the most runs."""

STEPS: Final = 24
"""The time in which a name's runs ended is divided into this many steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The runs that ended in one part of the time. Durations are in seconds."""

    from_at: float
    until_at: float
    runs: int
    median_s: float
    p95_s: float


@dataclass(slots=True, kw_only=True)
class Named:
    """The runs of the tasks of one name."""

    name: str
    runs: int = 0
    bad: int = 0
    """How many failed or were lost."""
    ended: list[tuple[float, float]] = field(default_factory=list)
    """Of the runs that succeeded: when they ended, and how long they took in seconds."""

    @property
    def median_s(self) -> float | None:
        """The median; None if none succeeded."""
        return median(self.durations_s) if self.ended else None

    @property
    def p95_s(self) -> float | None:
        """The 95th percentile; None if none succeeded."""
        return percentile_95(self.durations_s) if self.ended else None

    @property
    def durations_s(self) -> list[float]:
        """The durations of the runs that succeeded."""
        return [duration_s for _ended_at, duration_s in self.ended]

    @property
    def steps(self) -> list[Step]:
        """The durations over time, the oldest first, without steps in which nothing ended."""
        if not self.ended:
            return []
        instants = [ended_at for ended_at, _duration_s in self.ended]
        begin, width = min(instants), (max(instants) - min(instants)) / STEPS
        steps: dict[int, list[float]] = {}
        for ended_at, duration_s in sorted(self.ended):
            number = min(STEPS - 1, int((ended_at - begin) / width)) if width else 0
            steps.setdefault(number, []).append(duration_s)
        return [_step(begin, width, number, durations_s) for number, durations_s in steps.items()]


def _step(begin: float, width: float, number: int, durations_s: Sequence[float]) -> Step:
    return Step(
        from_at=begin + number * width,
        until_at=begin + (number + 1) * width,
        runs=len(durations_s),
        median_s=median(durations_s),
        p95_s=percentile_95(durations_s),
    )


def percentile_95(durations_s: Sequence[float]) -> float:
    """Return the 95th percentile of at least one duration."""
    return quantiles(durations_s, n=20, method="inclusive")[-1] if len(durations_s) > 1 else durations_s[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """What was read: the runs by name, those with the most first."""

    named: list[Named]
    tasks: int
    since: float | None
    """When the first of these tasks ended; None without tasks."""
    is_complete: bool
    """Whether these are all that ended in the time that was asked for."""


def durations(*, since: float | None = None) -> Durations:
    """Return how long the tasks took that ended last: after `since`, if it is given, in seconds since 1970."""
    ended = store.task_rows().exclude(ended_at=None) if since is None else store.task_rows().filter(ended_at__gt=since)
    rows = list(ended.order_by("-ended_at").values_list("name", "state", "started_at", "ended_at")[: READ + 1])
    named = sorted(_by_name(rows[:READ]), key=lambda each: (-each.runs, each.name))
    return Durations(
        named=named,
        tasks=min(len(rows), READ),
        since=rows[:READ][-1][3] if rows else None,
        is_complete=len(rows) <= READ,
    )


def _by_name(rows: Iterable[tuple[str, str, float | None, float | None]]) -> Iterable[Named]:
    found: dict[str, Named] = {}
    for name, state, started_at, ended_at in rows:
        named = found.setdefault(name, Named(name=name))
        named.runs += 1
        if state == State.SUCCEEDED and started_at is not None and ended_at is not None:
            named.ended.append((ended_at, max(0.0, ended_at - started_at)))
        named.bad += state in (State.FAILED, State.LOST)
    return found.values()


_TOPS_S: Final = (
    *(2, 4, 10, 20, 40, 80),
    *(60 * minutes for minutes in (2, 4, 10, 20, 40, 80)),
    *(3_600 * hours for hours in (2, 4, 10, 20)),
    *(86_400 * days for days in (2, 4, 10, 20, 40, 100, 200, 400, 1_000)),
)


def round_up(seconds: float) -> float:
    """Return the top of an axis: the next larger duration that has exact words, as its half has."""
    if seconds <= 0:
        return 1.0
    if seconds > 1:
        return next((top for top in _TOPS_S if top >= seconds * 0.999_999), seconds)
    power = 10.0 ** math.floor(math.log10(seconds))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= seconds * 0.999_999)
