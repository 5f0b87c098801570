"""One connection: flow control, signs of life, closing. The time is the test's own."""

from typing import Any

import pytest

from telltale.pusher.protocol.close_codes import NO_PONG, RECONNECT, TERMINATED, TOO_SLOW
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.clients.client import BLOCKED_S, MESSAGE_OVERHEAD, PONG_S, QUEUED_BYTES, PusherClient
from telltale.pusher.server.clients.rate_limits import MESSAGE_BURST, MESSAGES_PER_S, EventWindow, MessageBucket
from tests.pusher.server.local_clients import APP, Host, KeepingOutlet


class Connection:
    """A client with its outlet and host."""

    def __init__(self, app: PusherApp = APP) -> None:
        self.host: Any = Host()
        self.outlet = KeepingOutlet()
        self.client = PusherClient(self.host, app, self.outlet, "1.2", "")
        self.outlet.attach(self.client)

    def after(self, seconds: float) -> PusherClient:
        """Let time pass and check what is due."""
        self.host.time += seconds
        if self.client.due_at <= self.host.time:
            self.client.check(self.host.time)
        return self.client


@pytest.fixture
def connection() -> Connection:
    return Connection()


# Signs of life ------------------------------------------------------------------------------------


def test_a_silent_client_is_asked_for_a_sign_of_life_and_then_closed(connection: Connection) -> None:
    """P11."""
    connection.after(APP.activity_timeout_s - 1)
    assert connection.outlet.texts == []
    connection.after(1)
    assert connection.outlet.texts == ['{"event":"pusher:ping","data":"{}"}']
    connection.after(PONG_S - 1)
    assert connection.outlet.code is None
    connection.after(1)
    assert connection.outlet.code is NO_PONG
    assert connection.host.gone == [connection.client]


def test_any_message_counts_as_a_sign_of_life(connection: Connection) -> None:
    """P11: the next ping is due a whole timeout after it."""
    connection.after(APP.activity_timeout_s)
    connection.after(PONG_S - 1)
    connection.client.hear()
    connection.after(APP.activity_timeout_s - 1)
    assert len(connection.outlet.texts) == 1
    connection.after(1)
    assert len(connection.outlet.texts) == 2
    assert connection.client.is_open


def test_a_client_that_talks_is_never_pinged(connection: Connection) -> None:
    for _ in range(20):
        connection.after(APP.activity_timeout_s / 2)
        connection.client.hear()
    assert connection.outlet.texts == []


def test_a_short_timeout_shortens_the_wait_for_the_answer() -> None:
    connection = Connection(PusherApp(id="1", key="k", secret="s", activity_timeout_s=5))
    connection.after(5)
    connection.after(4)
    assert connection.client.is_open
    connection.after(1)
    assert connection.outlet.code is NO_PONG


# Slow readers -------------------------------------------------------------------------------------


def test_messages_wait_while_the_line_is_full_and_keep_their_order(connection: Connection) -> None:
    client, outlet = connection.client, connection.outlet
    client.send("1")
    client.block()
    client.send("2")
    client.send("3")
    assert outlet.texts == ["1"]
    client.unblock()
    client.send("4")
    assert outlet.texts == ["1", "2", "3", "4"]


def test_a_line_that_fills_up_again_while_the_queue_is_written_blocks_again(connection: Connection) -> None:
    client, outlet = connection.client, connection.outlet
    client.block()
    for text in "123":
        client.send(text)
    outlet.is_full = True
    client.unblock()
    client.send("4")
    assert outlet.texts == ["1"]
    outlet.is_full = False
    client.unblock()
    assert outlet.texts == ["1", "2", "3", "4"]


def test_a_client_that_takes_nothing_for_long_is_closed(connection: Connection) -> None:
    connection.client.block()
    connection.after(BLOCKED_S - 1)
    assert connection.client.is_open
    connection.after(1)
    assert connection.outlet.code is TOO_SLOW


def test_a_client_that_reads_again_in_time_stays(connection: Connection) -> None:
    connection.client.block()
    connection.after(BLOCKED_S - 1)
    connection.client.unblock()
    connection.after(BLOCKED_S)
    assert connection.client.is_open


def test_the_memory_of_a_client_that_takes_nothing_is_bounded(connection: Connection) -> None:
    client = connection.client
    client.block()
    text = "x" * 10_000
    sent = 0
    while client.is_open:
        client.send(text)
        sent += 1
    assert connection.outlet.code is TOO_SLOW
    assert (sent - 1) * (len(text) + MESSAGE_OVERHEAD) <= QUEUED_BYTES
    assert connection.outlet.texts == []


def test_a_message_larger_than_the_whole_queue_may_still_wait(connection: Connection) -> None:
    """An app may allow events of any size."""
    connection.client.block()
    connection.client.send("x" * (2 * QUEUED_BYTES))
    assert connection.client.is_open
    connection.client.unblock()
    assert len(connection.outlet.texts) == 1


# The end ------------------------------------------------------------------------------------------


def test_what_waits_is_written_before_the_closing_frame(connection: Connection) -> None:
    connection.client.block()
    connection.client.send("last")
    connection.client.close(RECONNECT)
    assert connection.outlet.texts == ["last"]
    assert connection.outlet.code is RECONNECT


def test_the_first_code_stands_and_the_host_is_told_once(connection: Connection) -> None:
    client = connection.client
    client.close(RECONNECT)
    client.close(TERMINATED)
    client.leave()
    assert (client.closed, connection.outlet.code) == (RECONNECT, RECONNECT)
    assert connection.host.gone == [client]


def test_nothing_is_written_to_a_client_that_has_gone(connection: Connection) -> None:
    client = connection.client
    client.block()
    client.send("1")
    client.leave()
    client.send("2")
    client.unblock()
    client.close(RECONNECT)
    client.block()
    client.send("3")
    assert connection.outlet.texts == []
    assert connection.outlet.code is None


# Limits of the rate -------------------------------------------------------------------------------


def test_a_client_may_send_a_burst_and_then_a_steady_rate() -> None:
    bucket = MessageBucket(0.0)
    assert sum(bucket.spend(0.0) for _ in range(2_000)) == MESSAGE_BURST
    bucket = MessageBucket(0.0, tokens=0.0)
    assert sum(bucket.spend(1.0 + k / 1_000) for k in range(1_000)) == pytest.approx(2 * MESSAGES_PER_S, abs=1)


def test_the_bucket_never_holds_more_than_a_burst() -> None:
    bucket = MessageBucket(0.0)
    bucket.spend(1e6)
    assert bucket.tokens == MESSAGE_BURST - 1


def test_ten_events_pass_within_any_second() -> None:
    """P40."""
    window = EventWindow(10)
    assert [window.allows(0.05 * k) for k in range(12)] == [True] * 10 + [False] * 2
    assert window.allows(1.0)
    assert not window.allows(1.04)
    assert window.allows(1.06)


def test_a_window_of_none_lets_nothing_pass() -> None:
    assert not EventWindow(0).allows(0.0)
