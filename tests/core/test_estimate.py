"""Time left: none until it is honest, and never jumping. What is usual: none before there are enough runs."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.core.estimate import ENOUGH, KEPT, DurationHistory, Pace


def fed(rate: float, *, until: float, every: float = 0.1, pace: Pace | None = None, begin: float = 0.0) -> Pace:
    """A pace that has seen a steady `rate` from `begin` to `until`."""
    pace = pace or Pace()
    steps = round((until - begin) / every)
    for n in range(steps + 1):
        pace.add(rate * (begin + n * every), now=begin + n * every)
    return pace


def test_a_steady_pace_tells_the_time_left() -> None:
    assert fed(0.01, until=20).remaining_s(now=20) == pytest.approx(80, rel=0.05)


def test_none_is_told_in_the_first_three_seconds() -> None:
    assert fed(0.01, until=2.9).remaining_s(now=2.9) is None


def test_none_is_told_from_fewer_than_three_updates() -> None:
    pace = Pace()
    for now in (0, 5, 10):
        pace.add(now / 100, now=now)
    assert pace.remaining_s(now=10) is None


def test_none_is_told_while_the_fraction_is_unknown() -> None:
    pace = Pace()
    for now in range(20):
        pace.add(None, now=now)
    assert pace.remaining_s(now=20) is None


def test_none_is_told_while_the_pace_is_all_over_the_place() -> None:
    pace, fraction, now = Pace(), 0.0, 0.0
    for n in range(60):
        now += 0.1 if n % 10 else 6.0
        fraction += 0.01
        pace.add(fraction, now=now)
    assert pace.remaining_s(now=now) is None


def test_it_counts_down_between_updates() -> None:
    pace = fed(0.01, until=20)
    first = pace.remaining_s(now=20)
    second = pace.remaining_s(now=22)
    assert first is not None
    assert second is not None
    assert second < first


def test_it_does_not_grow_for_a_short_hitch() -> None:
    pace = fed(0.01, until=20)
    before = pace.remaining_s(now=20)
    pace.add(0.2001, now=23)
    after = pace.remaining_s(now=23)
    assert before is not None
    assert after is None or after <= before


def test_noise_makes_no_jumps() -> None:
    luck, pace, fraction, now, told = random.Random(7), Pace(), 0.0, 0.0, []
    while fraction < 0.9:
        now += 0.1
        fraction += 0.002 * luck.uniform(0.7, 1.3)
        pace.add(fraction, now=now)
        left = pace.remaining_s(now=now)
        if left is not None:
            told.append(left)
    assert len(told) > 100
    grown = [later - earlier for earlier, later in pairwise(told) if later > earlier]
    assert len(grown) < 5


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), max_size=50))
def test_it_is_never_negative_and_never_nan(steps: list[tuple[float, float]]) -> None:
    pace, now = Pace(), 0.0
    for passed, fraction in steps:
        now += passed
        pace.add(fraction, now=now)
        left = pace.remaining_s(now=now)
        assert left is None or (math.isfinite(left) and left >= 0)


def test_nothing_is_usual_before_there_are_enough_runs() -> None:
    usual = DurationHistory()
    for _ in range(ENOUGH - 1):
        usual = usual.add(10.0)
    assert usual.usual_s is None
    assert usual.add(10.0).usual_s == (10.0, 10.0)


def test_usual_is_the_median_and_what_95_percent_stay_below() -> None:
    usual = DurationHistory.from_list(range(1, 21))
    assert usual.usual_s == (10.5, pytest.approx(19.05))


def test_one_run_that_hung_does_not_change_the_median() -> None:
    assert DurationHistory.from_list([10.0] * 9 + [5_000.0]).usual_s[0] == 10.0


def test_only_the_newest_are_kept() -> None:
    usual = DurationHistory.from_list([1.0] * 200)
    for _ in range(KEPT):
        usual = usual.add(2.0)
    assert usual.to_list() == [2.0] * KEPT


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -1.0])
def test_what_is_no_duration_is_passed_over(nonsense: float) -> None:
    assert DurationHistory.from_list([1.0, nonsense, "x", None]).to_list() == [1.0]
    assert DurationHistory().add(nonsense).to_list() == []
