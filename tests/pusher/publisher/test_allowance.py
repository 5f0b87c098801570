"""The plan's rate, for one process."""

from hypothesis import given
from hypothesis import strategies as st

from telltale.pusher.publisher.allowance import BURST, MAX_DEBT_S, Allowance

STEPS = st.lists(st.tuples(st.floats(0, 5), st.integers(0, 20)), max_size=50)


@given(st.floats(0.1, 50), STEPS)
def test_over_any_time_progress_stays_at_the_rate(rate: float, steps: list[tuple[float, int]]) -> None:
    allowance, now, sent = Allowance(rate, now=0.0), 0.0, 0
    for pause_s, wanted in steps:
        now += pause_s
        count = min(wanted, allowance.events(now=now))
        allowance.spend(count, now=now)
        sent += count
    assert sent <= BURST + rate * now + 1e-6


def test_events_that_do_not_wait_use_the_allowance_up() -> None:
    allowance = Allowance(1.0, now=0.0)
    allowance.spend(15, now=0.0)
    assert allowance.events(now=5.5) == 0
    assert allowance.events(now=6.0) == 1


@given(st.floats(0.1, 50), st.integers(1, 100_000))
def test_progress_goes_on_however_many_events_were_sent(rate: float, events: int) -> None:
    allowance = Allowance(rate, now=0.0)
    allowance.spend(events, now=0.0)
    assert allowance.events(now=MAX_DEBT_S + 1.001 / rate) >= 1


def test_a_pause_saves_up_no_more_than_one_request() -> None:
    allowance = Allowance(1.0, now=0.0)
    assert allowance.events(now=10_000.0) == BURST
