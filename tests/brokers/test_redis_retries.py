"""When a Redis listener connects again."""

from telltale.brokers.redis.listener import RETRY_S, STABLE_S, RetrySchedule


def attempts(schedule: RetrySchedule, *, since: float, duration_s: float) -> int:
    """Return how often it tries, in vain, in this time."""
    now, number = since, 0
    while now < since + duration_s:
        schedule.failed(now)
        now += max(schedule.wait_s(now), 0.001)
        number += 1
    return number


def test_in_a_long_outage_attempts_become_rare() -> None:
    """Also after a connection that was stable: it lets the first attempt come soon, and not all of them."""
    schedule = RetrySchedule()
    schedule.succeeded(0.0)
    assert attempts(schedule, since=100.0, duration_s=600.0) < 600.0 / RETRY_S[1] * 4


def test_after_a_stable_connection_the_first_attempt_comes_soon() -> None:
    schedule = RetrySchedule()
    for _ in range(20):
        attempts(schedule, since=0.0, duration_s=100.0)
        schedule.succeeded(100.0)
        schedule.failed(100.0 + 2 * STABLE_S)
        assert schedule.wait_s(100.0 + 2 * STABLE_S) <= RETRY_S[0]


def test_connections_that_break_at_once_are_made_less_and_less_often() -> None:
    schedule = RetrySchedule()
    waits = []
    for now in range(100):
        schedule.succeeded(float(now))
        schedule.failed(float(now))
        waits.append(schedule.wait_s(float(now)))
    assert max(waits) > 10 * RETRY_S[0]
