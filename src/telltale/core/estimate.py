"""Estimates: the time left of one run (`Pace`), and how long runs of a task usually take (`DurationHistory`).

Both return None rather than an estimate that they might have to take back. The time is an argument.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

HALF_LIFE_S: Final = 5.0
"""A measurement counts half after this time: long enough for bursts, short enough for a change of pace."""

MIN_S: Final = 3.0
MIN_UPDATES: Final = 3
"""There is no estimate before both: from less it would be a guess."""

MAX_SPREAD: Final = 0.5
"""There is no estimate while the pace varies by more than this fraction of itself."""

GROWS_AFTER_S: Final = 5.0
"""The time left may shrink at once; it grows only after it was too short for this long."""

KEPT: Final = 50
"""How many durations are kept."""

ENOUGH: Final = 5
"""How many durations are needed for `usual_s`."""


class Pace:
    """How fast the fraction of a run grows, from samples; and so the time left."""

    __slots__ = ("_began_at", "_ends_at", "_last", "_rate", "_spread", "_too_short_since", "_updates")

    def __init__(self) -> None:
        self._began_at: float | None = None
        self._last: tuple[float, float] | None = None  # The instant and the fraction of the last sample that moved.
        self._rate = 0.0  # Fraction per second, smoothed.
        self._spread = 0.0  # The mean deviation from it, smoothed.
        self._updates = 0
        self._ends_at: float | None = None
        self._too_short_since: float | None = None

    def add(self, fraction: float | None, *, now: float) -> None:
        """Add a sample: `fraction` of the run (0 to 1) is done at `now` (seconds); None while it is unknown."""
        if fraction is None:
            return
        if self._began_at is None or self._last is None:
            self._began_at, self._last = now, (now, fraction)
            return
        elapsed_s, gain = now - self._last[0], fraction - self._last[1]
        if elapsed_s <= 0 or gain <= 0:
            return
        self._last = (now, fraction)
        self._updates += 1
        rate = gain / elapsed_s
        # Older samples fade with time and not with the number of samples, so a burst counts no more than its duration.
        weight = 1.0 if self._updates == 1 else 1 - 0.5 ** (elapsed_s / HALF_LIFE_S)
        self._spread += weight * (abs(rate - self._rate) - self._spread) if self._updates > 1 else 0.0
        self._rate += weight * (rate - self._rate)

    def remaining_s(self, *, now: float) -> float | None:
        """The seconds left, never negative; None while there is no reliable estimate."""
        if self._began_at is None or self._last is None or now - self._began_at < MIN_S or self._updates < MIN_UPDATES:
            return None
        # The time since the last sample counts, or a loop that hangs would seem to end soon.
        rate = min(self._rate, (self._rate * HALF_LIFE_S) / max(HALF_LIFE_S, now - self._last[0]))
        if rate <= 0 or self._spread > MAX_SPREAD * self._rate:
            self._ends_at = self._too_short_since = None
            return None
        return self._steadied(now + max(0.0, 1 - self._last[1]) / rate, now)

    def _steadied(self, ends_at: float, now: float) -> float:
        """The seconds left by the last estimate, unless `ends_at` is earlier or the last was too short for a while."""
        if self._ends_at is None or ends_at <= self._ends_at:
            self._ends_at, self._too_short_since = ends_at, None
        elif self._too_short_since is None:
            self._too_short_since = now
        elif now - self._too_short_since >= GROWS_AFTER_S:
            self._ends_at, self._too_short_since = ends_at, None
        return max(0.0, self._ends_at - now)


@dataclass(frozen=True, slots=True)
class DurationHistory:
    """The newest durations of runs that succeeded, in seconds, oldest first."""

    durations_s: tuple[float, ...] = ()

    @classmethod
    def from_list(cls, durations_s: Iterable[object]) -> Self:
        """Read it from the database; values that are no duration are left out."""
        return cls(tuple(float(d) for d in durations_s if isinstance(d, int | float) and _is_duration(d))[-KEPT:])

    def to_list(self) -> list[float]:
        """Return it for the database: at most `KEPT` numbers, in seconds, to a millisecond."""
        return [round(duration, 3) for duration in self.durations_s]

    def add(self, duration_s: float) -> Self:
        """Return it with one more run, without the oldest if it is full; unchanged if that is no duration."""
        if not _is_duration(duration_s):
            return self
        return type(self)((*self.durations_s, duration_s)[-KEPT:])

    @property
    def usual_s(self) -> tuple[float, float] | None:
        """(median, 95th percentile) in seconds; None before there are `ENOUGH` runs."""
        if len(self.durations_s) < ENOUGH:
            return None
        ordered = sorted(self.durations_s)
        return (_quantile(ordered, 0.5), _quantile(ordered, 0.95))


def _is_duration(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _quantile(ordered: Sequence[float], fraction: float) -> float:
    """Return the quantile, interpolated between the two nearest values; `ordered` is not empty."""
    position = fraction * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return round(ordered[below] + (position - below) * (ordered[above] - ordered[below]), 3)
