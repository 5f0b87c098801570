"""Estimates: the time left of one run (`Pace`), and how long runs of a task usually take (`DurationHistory`).

Both return None rather than an estimate that they might have to take back. The time is an argument. Why the time left
is worked out in this way: docs/decisions/0009-time-left.md.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

SAMPLE_S: Final = 1.0
"""A sample spans at least this long, and at least one item: a single fast item says little about the pace."""

MIN_S: Final = 3.0
MIN_SAMPLES: Final = 3
"""There is no estimate before both: from less it would be a guess."""

HALF_LIFE_S: Final = 20.0
HALF_LIFE_SHARE: Final = 0.5
HALF_LIFE_PAUSES: Final = 4.0
"""A sample counts half after this many seconds, this share of the run so far, or this many usual pauses: the longest of
them. It spans bursts and slow items, and still follows a change of pace."""

STOP_S: Final = 2.0
STOP_PAUSES: Final = 4.0
STOP_SHARE: Final = 0.7
"""A pause is an unusual stop if it is longer than this, than this many usual pauses, and shorter than this share of the
run before it. A stop says nothing about the pace; a second one of its length is usual."""

HIDDEN_AFTER_S: Final = 10.0
HIDDEN_AFTER_PAUSES: Final = 2.5
HIDDEN_AFTER_SHARE: Final = 0.1
"""The estimate is hidden once an item is overdue by more than this, this many usual pauses, and this share of the time
left."""

HIDDEN_SPREAD: Final = 0.8
SHOWN_SPREAD: Final = 0.6
HIDDEN_SPREAD_S: Final = 10.0
"""The estimate is hidden while its spread is above the first, and shown again once it is below the second. A spread of
fewer seconds than the last hides nothing: a run that is about to end may be said to be."""

WIDE_SPREAD: Final = 0.25
"""A smaller spread is not told."""

SPREAD_STEP: Final = 0.1
"""The spread that is told changes by more than this."""

SHOWN_AFTER: Final = 2
"""How many samples there must be after it was hidden."""

STEADY_S: Final = 5.0
"""The estimate jumps at most once in this time. Smaller differences in seconds are not worth a correction upwards."""

STEADY_SHARE: Final = 0.15
STEADY_SPREADS: Final = 0.5
"""A difference below this share of the time left is ignored, or below this much of its spread, if that is more."""

GROWS_BY: Final = 0.8
"""The time left stands still while it is too short; it grows only if this share of it is missing."""

NEAR_S: Final = 20.0
"""If less than this is missing, the time left grows by `STEADY_S` at most, and stands still for the rest."""

ALIKE: Final = 1.25
"""Earlier runs were alike if the 95th percentile of their durations is at most so many times the median."""

CONTRADICTED_BY: Final = 3.0
"""If the pace tells a duration that is so many times longer or shorter than usual, this run is not a usual one."""

LAST_SHARE: Final = 0.5
"""In this last share of the usual duration, earlier runs count less and less."""

FAR_S: Final = 1e9
"""No estimate is longer, so that no fraction makes the arithmetic overflow."""

KEPT: Final = 50
"""How many durations are kept."""

ENOUGH: Final = 5
"""How many durations are needed for `usual_s`."""


class Pace:
    """How fast the fraction of a run grows, from samples; and so the time left."""

    __slots__ = (
        "_began_at",
        "_countdown",
        "_deviation",
        "_fraction",
        "_gain",
        "_moved_at",
        "_pause_s",
        "_sample_at",
        "_sample_fraction",
        "_samples",
        "_shown_from",
        "_time_s",
        "_usual_s",
        "_weight",
    )

    def __init__(self, usual_s: tuple[float, float] | None = None) -> None:
        """`usual_s`: (median, 95th percentile) of the durations of earlier runs, in seconds; None if unknown."""
        is_alike = usual_s is not None and usual_s[1] <= ALIKE * usual_s[0]
        self._usual_s = usual_s if is_alike else None
        self._began_at: float | None = None
        self._moved_at = 0.0
        self._fraction = 0.0
        self._sample_at = 0.0
        self._sample_fraction = 0.0
        self._samples = 0
        self._shown_from = MIN_SAMPLES
        # Sums over all samples, of which older ones count less.
        self._gain = self._time_s = self._deviation = self._weight = 0.0
        self._pause_s = 0.0
        """The longest pause between two movements, which fades: the usual gap, also between bursts."""
        self._countdown: Countdown | None = None

    def add(self, fraction: float | None, *, now: float) -> None:
        """Add a sample: `fraction` of the run (0 to 1) is done at `now` (seconds); None while it is unknown."""
        if fraction is None:
            return
        if self._began_at is None:
            self._began_at = self._moved_at = self._sample_at = now
            self._fraction = self._sample_fraction = fraction
            return
        if now < self._moved_at:
            self._put_back(self._moved_at - now)
        gap_s = now - self._moved_at
        if gap_s <= 0 or fraction <= self._fraction:
            return
        self._moved_at, self._fraction = now, fraction
        half_life_s = self._half_life_s(now - self._began_at)
        if max(STOP_S, STOP_PAUSES * self._pause_s) < gap_s < STOP_SHARE * (now - gap_s - self._began_at):
            self._sample_at += gap_s - self._pause_s
            self._pause_s = gap_s / STOP_PAUSES
        else:
            self._pause_s = max(gap_s, self._pause_s * 0.5 ** (gap_s / half_life_s))
        if now - self._sample_at >= SAMPLE_S:
            self._add_sample(now - self._sample_at, fraction - self._sample_fraction, half_life_s)
            self._sample_at, self._sample_fraction = now, fraction

    def _put_back(self, by_s: float) -> None:
        """The clock was put back: what was measured by it stays."""
        assert self._began_at is not None
        self._began_at, self._moved_at, self._sample_at = (
            instant - by_s for instant in (self._began_at, self._moved_at, self._sample_at)
        )
        self._countdown = None

    def _half_life_s(self, elapsed_s: float) -> float:
        return max(HALF_LIFE_S, HALF_LIFE_SHARE * elapsed_s, HALF_LIFE_PAUSES * self._pause_s)

    def _add_sample(self, elapsed_s: float, gain: float, half_life_s: float) -> None:
        # Samples fade with time and not with their number, so a burst counts no more than its duration.
        kept = 0.5 ** (elapsed_s / half_life_s)
        expected_s = min(FAR_S, gain * self._time_s / self._gain) if self._gain else elapsed_s
        self._samples += 1
        self._deviation = self._deviation * kept + (elapsed_s - expected_s) ** 2
        self._weight = self._weight * kept + 1
        self._gain = self._gain * kept + gain
        self._time_s = self._time_s * kept + elapsed_s

    def remaining_s(self, *, now: float) -> float | None:
        """The seconds left, never negative; None while there is no reliable estimate."""
        if self._began_at is None or now - self._began_at < MIN_S or self._samples < self._shown_from:
            return None
        left_s = self._left_s(now - self._moved_at)
        spread = self._spread(left_s)
        left_s = self._corrected_by_usual(left_s, now - self._began_at)
        is_shown = self._countdown is not None
        is_vague = spread > (HIDDEN_SPREAD if is_shown else SHOWN_SPREAD) and spread * left_s > HIDDEN_SPREAD_S
        if is_vague or self._overdue_s(now) > self._hidden_after_s(left_s):
            self._shown_from = max(self._shown_from, self._samples + SHOWN_AFTER if is_shown else 0)
            self._countdown = None
            return None
        if self._countdown is None:
            self._countdown = Countdown(left_s, now)
        return self._countdown.corrected(left_s, spread, now)

    @property
    def spread(self) -> float | None:
        """The standard error of the last `remaining_s`, as a share of it (0 to 1); None if there is none, or small."""
        return self._countdown.spread if self._countdown else None

    def _left_s(self, waited_s: float) -> float:
        """The seconds left, `waited_s` after the last movement."""
        left_s = min(FAR_S, max(0.0, 1 - self._fraction) * self._time_s / self._gain)
        # An item that takes longer than usual is not about to end: as much is left as it varies, or as it is late.
        varies_s = math.sqrt(self._deviation / self._weight)
        passed_s = min(waited_s, self._patience_s())
        return max(left_s - passed_s, min(left_s, varies_s), min(waited_s - left_s, left_s + varies_s))

    def _corrected_by_usual(self, left_s: float, elapsed_s: float) -> float:
        """The seconds left, where earlier runs tell them better: weights of stages may be wrong in each run."""
        if self._usual_s is None:
            return left_s
        median_s, late_s = self._usual_s
        if elapsed_s > late_s or not median_s / CONTRADICTED_BY <= elapsed_s + left_s <= CONTRADICTED_BY * median_s:
            return left_s
        usual_left_s = max(0.0, median_s - elapsed_s)
        # The more of this run is known, the less earlier ones count: it may be shorter or longer than they were.
        weight = min(1.0 - self._fraction, usual_left_s / (LAST_SHARE * median_s))
        return weight * usual_left_s + (1 - weight) * left_s

    def _patience_s(self) -> float:
        return 1.5 * max(self._pause_s, SAMPLE_S)

    def _overdue_s(self, now: float) -> float:
        return now - self._moved_at - self._patience_s()

    def _hidden_after_s(self, left_s: float) -> float:
        return max(HIDDEN_AFTER_S, HIDDEN_AFTER_PAUSES * self._pause_s, HIDDEN_AFTER_SHARE * left_s)

    def _spread(self, left_s: float) -> float:
        """The standard error of `left_s`, as a share of it: that of the pace so far, and of the items to come."""
        per_s = self._deviation / self._time_s
        error = math.sqrt(per_s / max(left_s, SAMPLE_S) + per_s / self._time_s)
        return error * (1 + 2 / self._samples)  # Few samples may be alike by chance.


class Countdown:
    """The time left as it is told: it counts down, and is corrected only for differences that matter."""

    __slots__ = ("_corrected_at", "_ends_at", "_is_standing", "_seen_at", "spread")

    def __init__(self, left_s: float, now: float) -> None:
        self._ends_at = now + left_s
        self._corrected_at = self._seen_at = now
        self._is_standing = False
        self.spread: float | None = None

    def corrected(self, left_s: float, spread: float, now: float) -> float:
        """The seconds left to tell at `now`, where `left_s` is the newest estimate and may err by `spread` of it."""
        self._tell_spread(spread)
        tolerance = max(STEADY_SHARE, STEADY_SPREADS * spread)
        told_s, missing_s = self._ends_at - now, now + left_s - self._ends_at
        stood_s, self._seen_at = now - self._seen_at, now
        may_jump = now - self._corrected_at >= STEADY_S
        if missing_s > max(STEADY_S, GROWS_BY * told_s) and may_jump:
            # What is missing near the end is often one slow item: most of it is made up for by standing still.
            grows_s = 0.6 * missing_s
            self._jump(self._ends_at + (min(grows_s, STEADY_S) if missing_s < NEAR_S else grows_s), now)
        elif missing_s > (0 if self._is_standing else tolerance / 2 * left_s):
            # It stands still: a time left that grows a little and shrinks again is not believed.
            self._ends_at += min(stood_s, missing_s)
            self._is_standing = stood_s < missing_s
        elif -missing_s > max(2.0, tolerance * told_s) and may_jump:
            self._jump(now + (1 + 0.8 * tolerance) * left_s, now)
        else:
            self._is_standing = False
        return max(0.0, self._ends_at - now)

    def _tell_spread(self, spread: float) -> None:
        if abs(spread - (self.spread or 0.0)) > SPREAD_STEP:
            self.spread = round(min(1.0, spread), 2) if spread >= WIDE_SPREAD else None

    def _jump(self, ends_at: float, now: float) -> None:
        self._ends_at, self._corrected_at, self._is_standing = ends_at, now, False


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
