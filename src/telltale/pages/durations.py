"""Durations as people say them, in the active language: exact ones, rough ones, and ranges."""

import math

from telltale.pages.catalogue import message, number, plural, rounded


def rough_duration(seconds: float) -> str:
    """Return a rough duration: multiples of 5 seconds below a minute, then whole minutes, hours or days."""
    if seconds < 5:
        return message("few_seconds")
    if seconds <= 55:
        return plural("about_seconds", math.ceil(seconds / 5) * 5)
    if seconds < 90:
        return message("about_minute")
    if seconds < 55 * 60:
        return plural("about_minutes", rounded(seconds / 60))
    if seconds < 75 * 60:
        return message("about_hour")
    if seconds < 105 * 60:
        return message("about_hour_and_half")
    if seconds < 36 * 3600:
        return plural("about_hours", rounded(seconds / 3600))
    return plural("about_days", rounded(seconds / 86_400))


def duration_range(seconds: float, spread: float) -> str:
    """Return a rough duration that errs by `spread` of it: a range, or an upper bound; without `spread`, one value."""
    low_s, high_s = seconds * (1 - spread), seconds * (1 + spread)
    if spread <= 0 or seconds < 5 or high_s >= 36 * 3600:
        return rough_duration(seconds)
    if high_s <= 60:
        return message("under_minute")
    unit, unit_s = ("minutes", 60) if high_s <= 90 * 60 else ("hours", 3600)
    low, high = _round_down(low_s / unit_s), _round_up(high_s / unit_s)
    return plural(f"range_{unit}", high, low=number(low)) if low > 0 else plural(f"up_to_{unit}", high)


def _round_down(value: float) -> int:
    return math.floor(value / _step(value)) * _step(value)


def _round_up(value: float) -> int:
    return math.ceil(value / _step(value)) * _step(value)


def _step(value: float) -> int:
    """The multiples to which the ends of a range are rounded."""
    return 1 if value <= 10 else 5 if value <= 30 else 10


def duration(seconds: float) -> str:
    """Return an exact duration: a time that has passed, or one that is known in advance."""
    if seconds < 1:
        return message("moment")
    if seconds < 90:
        return plural("seconds", math.floor(seconds))
    if seconds < 90 * 60:
        return plural("minutes", rounded(seconds / 60))
    if seconds < 36 * 3600:
        return plural("hours", rounded(seconds / 3600))
    return plural("days", rounded(seconds / 86_400))
