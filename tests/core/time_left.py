"""What a page tells of the time left of a run, and how good that was."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from telltale.core.estimate import Pace
from tests.core.paces import Run

PUBLISH_EVERY_S: Final = 0.1
BEAT_S: Final = 8.0
LEEWAY_S: Final = 5.0
"""Differences below this are not told apart: "a few seconds left"."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a page shows at one moment."""

    at: float
    remaining_s: float | None


def reported(run: Run, pace: Pace) -> Iterator[Told]:
    """What a worker's reporter publishes of the run: each change, at most ten times a second, and heartbeats."""
    points, next_point, fraction, published, published_at = run.points, 0, 0.0, None, 0.0
    for tick in range(int(run.end_s / PUBLISH_EVERY_S) + 1):
        now = tick * PUBLISH_EVERY_S
        while next_point < len(points) and points[next_point][0] <= now:
            fraction = points[next_point][1]
            next_point += 1
        if fraction == published and now - published_at < BEAT_S:
            continue
        published, published_at = fraction, now
        pace.add(fraction, now=now)
        yield Told(at=now, remaining_s=pace.remaining_s(now=now))


def told(run: Run, pace: Pace) -> list[Told]:
    """What a page shows in each second of the run: it counts down from what was reported last."""
    shown, reports, last = [], list(reported(run, pace)), 0
    for second in range(1, int(run.end_s)):
        while last + 1 < len(reports) and reports[last + 1].at <= second:
            last += 1
        report = reports[last]
        left = None if report.remaining_s is None else max(0.0, report.remaining_s - (second - report.at))
        shown.append(Told(at=second, remaining_s=left))
    return shown


@dataclass(frozen=True, kw_only=True)
class Score:
    """How good it was. Shares are of the time after the first tenth of the run."""

    told: float
    """For which share of the time anything was told."""
    wrong: float
    """For which share of what was told the truth was more than twice or less than half of it."""
    turns: int
    """How often the time left grew by more than a fifth, beyond the run's causes."""


def score(run: Run, shown: list[Told]) -> Score:
    """Judge what was shown."""
    judged = [moment for moment in shown if moment.at >= run.end_s / 10]
    known = [(moment.at, moment.remaining_s) for moment in judged if moment.remaining_s is not None]
    wrong = [at for at, left in known if not 0.5 <= max(left, LEEWAY_S) / max(run.end_s - at, LEEWAY_S) <= 2]
    return Score(
        told=len(known) / len(judged),
        wrong=len(wrong) / max(1, len(known)),
        turns=max(0, turns(judged) - run.causes),
    )


def turns(shown: list[Told]) -> int:
    """How often the time left grows by more than a fifth instead of getting less."""
    count, is_growing, low_s, high_s = 0, False, math.inf, 0.0
    for moment in shown:
        left_s = moment.remaining_s
        if left_s is None:
            continue
        if not is_growing and left_s - low_s > max(LEEWAY_S, 0.2 * low_s):
            count, is_growing, high_s = count + 1, True, left_s
        elif is_growing and high_s - left_s > max(LEEWAY_S, 0.2 * high_s):
            is_growing, low_s = False, left_s
        low_s, high_s = min(low_s, left_s), max(high_s, left_s)
    return count
