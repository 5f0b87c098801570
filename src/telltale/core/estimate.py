"""Estimates: time left of one run (`Pace`), and how long runs of a task usually take (`Usual`).

Both say nothing rather than something that they would have to take back. The time is an argument.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

HALF_LIFE_S: Final = 5.0
"""After this long what was measured counts half: long enough for bursts, short enough for a change of pace."""

FIRST_S: Final = 3.0
FIRST_UPDATES: Final = 3
"""No time left is told before both: an estimate from less is a guess."""

SPREAD: Final = 0.5
"""Nor while the pace varies by more than this part of itself."""

GROWS_AFTER_S: Final = 5.0
"""Time left may shrink at will; it grows only after it has been wrong for this long."""

KEPT: Final = 50
"""How many durations are remembered."""

ENOUGH: Final = 5
"""How many are needed before anything is "usual"."""


class Pace:
    """How fast the whole moves, from samples of its fraction; and so how long it will still take."""

    __slots__ = ("_began", "_ends_at", "_last", "_rate", "_spread", "_updates", "_wrong_since")

    def __init__(self) -> None:
        self._began: float | None = None
        self._last: tuple[float, float] | None = None
        self._rate = 0.0
        self._spread = 0.0
        self._updates = 0
        self._ends_at: float | None = None
        self._wrong_since: float | None = None

    def feed(self, fraction: float | None, *, now: float) -> None:
        """`fraction` of the whole (0 to 1) is done at `now` (seconds); None while that is unknown."""
        if fraction is None:
            return
        if self._began is None or self._last is None:
            self._began, self._last = now, (now, fraction)
            return
        passed, moved = now - self._last[0], fraction - self._last[1]
        if passed <= 0 or moved <= 0:
            return
        self._last = (now, fraction)
        self._updates += 1
        rate = moved / passed
        # What is older fades by the time that passed, not by the number of samples: bursts weigh what they last.
        fresh = 1.0 if self._updates == 1 else 1 - 0.5 ** (passed / HALF_LIFE_S)
        self._spread += fresh * (abs(rate - self._rate) - self._spread) if self._updates > 1 else 0.0
        self._rate += fresh * (rate - self._rate)

    def remaining_s(self, *, now: float) -> float | None:
        """Seconds left, never negative; None while no honest figure is known."""
        if self._began is None or self._last is None or now - self._began < FIRST_S or self._updates < FIRST_UPDATES:
            return None
        # A pause since the last sample counts, or a loop that hangs would promise to be done soon.
        rate = min(self._rate, (self._rate * HALF_LIFE_S) / max(HALF_LIFE_S, now - self._last[0]))
        if rate <= 0 or self._spread > SPREAD * self._rate:
            self._ends_at = self._wrong_since = None
            return None
        return self._kept(now + max(0.0, 1 - self._last[1]) / rate, now)

    def _kept(self, ends_at: float, now: float) -> float:
        """What was said before stands, unless it shrinks or has been wrong for a while."""
        if self._ends_at is None or ends_at <= self._ends_at:
            self._ends_at, self._wrong_since = ends_at, None
        elif self._wrong_since is None:
            self._wrong_since = now
        elif now - self._wrong_since >= GROWS_AFTER_S:
            self._ends_at, self._wrong_since = ends_at, None
        return max(0.0, self._ends_at - now)


@dataclass(frozen=True, slots=True)
class DurationHistory:
    """The newest durations of runs that succeeded, in seconds, oldest first."""

    durations_s: tuple[float, ...] = ()

    @classmethod
    def from_list(cls, durations_s: Iterable[object]) -> Self:
        """From what was stored; whatever is no duration is passed over."""
        return cls(tuple(float(d) for d in durations_s if isinstance(d, int | float) and _is_duration(d))[-KEPT:])

    def to_list(self) -> list[float]:
        """For storing: at most `KEPT` figures, to a millisecond."""
        return [round(duration, 3) for duration in self.durations_s]

    def add(self, duration_s: float) -> Self:
        """With one run more, the oldest forgotten; the same if that is no duration."""
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


def _quantile(ordered: Sequence[float], part: float) -> float:
    """Between the two nearest, in proportion; `ordered` is not empty."""
    place = part * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return round(ordered[below] + (place - below) * (ordered[above] - ordered[below]), 3)
