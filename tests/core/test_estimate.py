"""The time left, which is None until it is reliable and never jumps; the usual durations."""

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


def test_a_steady_pace_gives_the_time_left() -> None:
    assert fed(0.01, until=20).remaining_s(now=20) == pytest.approx(80, rel=0.05)


def test_there_is_no_estimate_in_the_first_three_seconds() -> None:
    assert fed(0.01, until=2.9).remaining_s(now=2.9) is None


def test_there_is_no_estimate_from_fewer_than_three_updates() -> None:
    pace = Pace()
    for now in (0, 5, 10):
        pace.add(now / 100, now=now)
    assert pace.remaining_s(now=10) is None


def test_there_is_no_estimate_while_the_fraction_is_unknown() -> None:
    pace = Pace()
    for now in range(20):
        pace.add(None, now=now)
    assert pace.remaining_s(now=20) is None


def test_there_is_no_estimate_while_items_differ_too_much() -> None:
    pace, now = Pace(), 0.0
    for n, item_s in enumerate([2.0, 40.0, 1.5, 3.0, 1.5, 90.0, 2.0, 1.0]):
        now += item_s
        pace.add((n + 1) / 20, now=now)
        assert pace.remaining_s(now=now) is None


def test_pauses_between_bursts_count() -> None:
    pace, fraction, now = Pace(), 0.0, 0.0
    for n in range(60):
        now += 0.1 if n % 10 else 6.0
        fraction += 0.01
        pace.add(fraction, now=now)
    assert pace.remaining_s(now=now) == pytest.approx(0.4 / 0.6 * now, rel=0.2)


def test_a_moment_longer_than_the_usual_pause_does_not_hide_the_estimate() -> None:
    pace = fed(0.001, until=300, every=30)
    shown = [pace.remaining_s(now=300 + waited) for waited in range(40)]
    assert None not in shown
    assert pace.remaining_s(now=300 + 150) is None


def test_a_time_left_that_is_a_little_too_short_stands_still() -> None:
    pace, fraction, now, shown = Pace(), 0.0, 0.0, []
    while fraction < 0.8:
        now += 0.5
        fraction += 0.005 if fraction < 0.4 else 0.0035
        pace.add(fraction, now=now)
        shown.append(pace.remaining_s(now=now))
    known = [left for left in shown if left is not None]
    assert max(later - earlier for earlier, later in pairwise(known)) <= 1e-6


def test_the_time_left_counts_down_between_updates() -> None:
    pace = fed(0.01, until=20)
    first = pace.remaining_s(now=20)
    second = pace.remaining_s(now=22)
    assert first is not None
    assert second is not None
    assert second < first


def test_the_time_left_does_not_grow_for_a_short_delay() -> None:
    pace = fed(0.01, until=20)
    before = pace.remaining_s(now=20)
    pace.add(0.2001, now=23)
    after = pace.remaining_s(now=23)
    assert before is not None
    assert after is None or after <= before


def test_the_time_left_does_not_jump_at_a_noisy_pace() -> None:
    random_, pace, fraction, now, estimates = random.Random(7), Pace(), 0.0, 0.0, []
    while fraction < 0.9:
        now += 0.1
        fraction += 0.002 * random_.uniform(0.7, 1.3)
        pace.add(fraction, now=now)
        left = pace.remaining_s(now=now)
        if left is not None:
            estimates.append(left)
    assert len(estimates) > 100
    grown = [later - earlier for earlier, later in pairwise(estimates) if later > earlier]
    assert len(grown) < 5


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), max_size=50))
def test_the_time_left_is_never_negative_or_nan(steps: list[tuple[float, float]]) -> None:
    pace, now = Pace(), 0.0
    for passed, fraction in steps:
        now += passed
        pace.add(fraction, now=now)
        left = pace.remaining_s(now=now)
        assert left is None or (math.isfinite(left) and left >= 0)


def test_there_is_no_usual_duration_before_there_are_enough_runs() -> None:
    history = DurationHistory()
    for _ in range(ENOUGH - 1):
        history = history.add(10.0)
    assert history.usual_s is None
    assert history.add(10.0).usual_s == (10.0, 10.0)


def test_the_usual_durations_are_the_median_and_the_95th_percentile() -> None:
    history = DurationHistory.from_list(range(1, 21))
    assert history.usual_s == (10.5, pytest.approx(19.05))


def test_one_very_long_run_does_not_change_the_median() -> None:
    assert DurationHistory.from_list([10.0] * 9 + [5_000.0]).usual_s[0] == 10.0


def test_only_the_newest_durations_are_kept() -> None:
    history = DurationHistory.from_list([1.0] * 200)
    for _ in range(KEPT):
        history = history.add(2.0)
    assert history.to_list() == [2.0] * KEPT


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -1.0])
def test_values_that_are_no_duration_are_left_out(nonsense: float) -> None:
    assert DurationHistory.from_list([1.0, nonsense, "x", None]).to_list() == [1.0]
    assert DurationHistory().add(nonsense).to_list() == []


def test_a_clock_that_is_put_back_changes_no_estimate() -> None:
    steady, put_back = Pace(), Pace()
    for second in range(60):
        steady.add(second / 100, now=1_000.0 + second)
        put_back.add(second / 100, now=(1_000.0 if second < 30 else 970.0) + second)
    expected = steady.remaining_s(now=1_059.0)
    assert expected is not None
    # The second at which the clock was put back is lost.
    assert put_back.remaining_s(now=1_029.0) == pytest.approx(expected, rel=0.1)
