"""A recorded request can't be sent again; equal requests of a busy client can."""

from telltale.pusher.protocol.replays import CLOCK_GRACE_S, GRACE_S, KEEP_S, Replays

NOW = 1_000_000.0
SIGNATURE, ANOTHER = "ab" * 32, "cd" * 32


def test_equal_requests_that_arrive_together_are_accepted() -> None:
    """P50: timestamps are whole seconds, so a client that publishes twice in a second signs the same text."""
    replays = Replays()
    for delay_s in (0.0, 0.1, 1.0, GRACE_S):
        assert replays.admit("1", SIGNATURE, timestamp=NOW, now=NOW + delay_s)


def test_a_request_that_was_recorded_is_refused_from_then_on() -> None:
    """P52: the grace counts from the first arrival, so repeating does not extend it."""
    replays = Replays()
    for delay_s in (0.0, GRACE_S):
        assert replays.admit("1", SIGNATURE, timestamp=NOW, now=NOW + delay_s)
    for delay_s in (GRACE_S + 0.1, 60.0, 599.0):
        assert not replays.admit("1", SIGNATURE, timestamp=NOW, now=NOW + delay_s)
    assert replays.admit("1", ANOTHER, timestamp=NOW, now=NOW + 599)


def test_a_request_with_an_old_timestamp_is_accepted_once() -> None:
    """P52."""
    replays = Replays()
    old = NOW - CLOCK_GRACE_S - 1
    assert replays.admit("1", SIGNATURE, timestamp=old, now=NOW)
    assert not replays.admit("1", SIGNATURE, timestamp=old, now=NOW)


def test_it_is_refused_as_long_as_its_timestamp_could_be_valid() -> None:
    """P52: a client's clock may be ahead by ten minutes."""
    replays = Replays()
    ahead = NOW + 600
    assert replays.admit("1", SIGNATURE, timestamp=ahead, now=NOW)
    for delay_s in range(60, int(KEEP_S), 60):
        assert replays.admit("1", f"{delay_s:064x}", timestamp=NOW + delay_s, now=NOW + delay_s)
        assert not replays.admit("1", SIGNATURE, timestamp=ahead, now=NOW + delay_s)


def test_apps_do_not_share_signatures() -> None:
    """P52."""
    replays = Replays()
    assert replays.admit("1", SIGNATURE, timestamp=NOW, now=NOW)
    assert replays.admit("2", SIGNATURE, timestamp=NOW, now=NOW + 60)


def test_memory_is_bounded_by_number_and_by_time() -> None:
    replays = Replays(max_signatures=10)
    for number in range(1_000):
        assert replays.admit("1", f"{number:064x}", timestamp=NOW, now=NOW)
    assert len(replays._first_arrivals["1"]) == 10
    assert not replays.admit("1", f"{999:064x}", timestamp=NOW, now=NOW + 60)
    assert replays.admit("1", SIGNATURE, timestamp=NOW + 2 * KEEP_S, now=NOW + 2 * KEEP_S)
    assert len(replays._first_arrivals["1"]) == 1
