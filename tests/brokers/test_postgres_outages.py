"""The PostgreSQL broker while the server restarts, hangs, or closes connections: logged once, and nothing is lost."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from telltale.brokers.base import Broker, MonitoredListener
from telltale.brokers.postgres import connection as postgres_connection
from telltale.brokers.postgres import notification_thread
from telltale.brokers.postgres.address import PostgresAddress
from telltale.testing.brokers import Received, assert_eventually, collect, make_messages
from tests.brokers.factory import MakeBroker
from tests.brokers.publishing import assert_failing_at_once, try_to_publish
from tests.servers import Postgres

pytestmark = pytest.mark.service

AdminConnection = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notification_thread, "KEEPALIVE_S", 0.3)
    monkeypatch.setattr(notification_thread, "MAX_RETRY_S", 0.5)
    monkeypatch.setattr(notification_thread, "MISSED_EVERY_S", 0.2)


@pytest.fixture
def short_timeouts(long_timeouts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs is noticed after a second."""
    monkeypatch.setattr(postgres_connection, "ANSWER_TIMEOUT_S", 1.0)
    monkeypatch.setattr(postgres_connection, "CONNECT_TIMEOUT_S", 1.0)


@contextmanager
def traffic(broker: Broker) -> Iterator[None]:
    """Publish a hundred times a second, from a thread."""
    is_over = threading.Event()

    def publish() -> None:
        while not is_over.wait(0.01):
            try_to_publish(broker, b"traffic")

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def publish_until_received(broker: Broker, received: Received, body: bytes) -> None:
    """Publish `body` until it is received; until then publishing may fail, or messages are reported as missed."""

    def is_received() -> bool:
        try_to_publish(broker, body)
        time.sleep(0.05)
        return body in received

    assert_eventually(is_received, f"{body!r} is received")


def pids(admin: AdminConnection) -> list[int]:
    """The server's process for each connection that Telltale has made."""
    rows = admin.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'telltale'").fetchall()
    return [pid for (pid,) in rows]


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_f20_a_restart_of_the_server_is_survived_and_logged_once(
    make_broker: MakeBroker, postgres: Postgres, stop_signal: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    received, broker = collect(make_broker()), make_broker()
    publish_until_received(broker, received, b"before")
    with traffic(broker):
        postgres.stop(stop_signal)
        assert_eventually(
            lambda: received.missed_count > 1 and not try_to_publish(broker, b"in vain"),
            "publishing is refused, and missed messages are reported again and again",
        )
        postgres.begin()
        publish_until_received(broker, received, b"after")
    assert caplog.text.count("The connection for PostgreSQL's notifications failed") == 1
    assert caplog.text.count("The connection for PostgreSQL's notifications works again") == 1


def test_a_listener_knows_whether_the_server_is_away(make_broker: MakeBroker, postgres: Postgres) -> None:
    received = Received()
    listener = make_broker().listen(received.deliver, received.on_missed)
    assert isinstance(listener, MonitoredListener)
    assert_eventually(lambda: listener.is_connected, "it listens")
    postgres.stop(signal.SIGINT)
    assert_eventually(lambda: not listener.is_connected, "the outage is known")
    postgres.begin()
    assert_eventually(lambda: listener.is_connected, "its end is known")
    listener.close()


def test_refused_messages_are_reported_as_missed_once_publishing_works_again(
    make_broker: MakeBroker, postgres: Postgres, admin: AdminConnection
) -> None:
    admin.execute("CREATE ROLE worker LOGIN")
    received, broker = collect(make_broker()), make_broker(postgres.url.replace("telltale@", "worker@"))
    publish_until_received(broker, received, b"before")
    admin.execute("ALTER ROLE worker NOLOGIN")
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'worker'")
    assert_eventually(lambda: not try_to_publish(broker, b"in vain"), "publishing is refused")
    assert received.missed_count == 0
    admin.execute("ALTER ROLE worker LOGIN")
    assert_eventually(lambda: received.missed_count == 1, "missed messages are reported")
    publish_until_received(broker, received, b"after")
    broker.close()
    admin.execute("DROP ROLE worker")


def test_a_listener_receives_messages_once_an_absent_server_starts(make_broker: MakeBroker, postgres: Postgres) -> None:
    postgres.stop()
    received, broker = collect(make_broker()), make_broker()
    assert_eventually(lambda: received.missed_count > 2, "missed messages are reported again and again")
    postgres.begin()
    publish_until_received(broker, received, b"at last")


def test_f21_connections_that_the_server_closes_amid_traffic_are_opened_again(
    make_broker: MakeBroker, admin: AdminConnection
) -> None:
    received, broker = collect(make_broker()), make_broker()
    publish_until_received(broker, received, b"before")
    with traffic(broker):
        for pid in pids(admin):
            missed_before = received.missed_count
            admin.execute("SELECT pg_terminate_backend(%s)", [pid])
            assert_eventually(lambda: pid not in pids(admin), "it is closed")  # noqa: B023 (called at once)
            assert_eventually(lambda: len(pids(admin)) == 2, "there is another connection")
            publish_until_received(broker, received, f"after {pid}".encode())
    assert missed_before <= received.missed_count
    assert received.missed_count > 0


def test_a_publisher_whose_connection_breaks_sends_its_last_messages_again(
    make_broker: MakeBroker, admin: AdminConnection
) -> None:
    received, broker = collect(make_broker()), make_broker()
    publish_until_received(broker, received, b"before")
    missed_before = received.missed_count
    assert_eventually(lambda: len(publishers(admin)) == 1, "only the publisher's connection is left, and no probe's")
    [publisher_pid] = publishers(admin)
    admin.execute("SELECT pg_terminate_backend(%s)", [publisher_pid])
    assert_eventually(lambda: publisher_pid not in pids(admin), "it is closed")
    broker.publish(make_messages(b"not lost"))
    received.assert_received(b"not lost")
    assert received.missed_count == missed_before


def publishers(admin: AdminConnection) -> list[int]:
    """The connections whose last statement was a notification; a listener's was LISTEN or the keepalive."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'telltale' AND query LIKE '%pg_notify%'"
    return [pid for (pid,) in admin.execute(query).fetchall()]


@pytest.mark.skipif(os.name != "posix", reason="stops processes by signals")
def test_f21_a_connection_that_never_answers_is_replaced(
    make_broker: MakeBroker, admin: AdminConnection, short_timeouts: None
) -> None:
    received = collect(make_broker())
    assert_eventually(lambda: len(pids(admin)) == 1, "only the listener's connection is left, and no probe's")
    [pid] = pids(admin)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert_eventually(lambda: received.missed_count > 0, "missed messages are reported")
        publish_until_received(make_broker(), received, b"over another connection")
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def paused(postgres: Postgres) -> Iterator[None]:
    postgres.pause()
    try:
        yield
    finally:
        postgres.resume()


def test_publishers_do_not_wait_for_a_paused_server(make_broker: MakeBroker, postgres: Postgres) -> None:
    received, broker = collect(make_broker()), make_broker()
    broker.publish(make_messages(b"before"))
    received.assert_received(b"before")
    with paused(postgres):
        for n in range(100):
            broker.publish(make_messages(b"%d" % n))
        assert received == [b"before"]
    received.assert_received(*(b"%d" % n for n in range(100)))


def test_a_pause_of_the_server_is_noticed_and_then_publishing_fails_at_once(
    make_broker: MakeBroker, postgres: Postgres, short_timeouts: None
) -> None:
    received, broker = collect(make_broker()), make_broker()
    publish_until_received(broker, received, b"before")
    with paused(postgres):
        assert_eventually(
            lambda: not try_to_publish(broker, b"in vain") and received.missed_count > 1,
            "publishing is refused, and missed messages are reported",
        )
        assert_failing_at_once(broker)
    publish_until_received(broker, received, b"after")


def test_closing_does_not_wait_for_a_paused_server(
    make_broker: MakeBroker, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_thread, "CLOSE_TIMEOUT_S", 0.5)
    monkeypatch.setattr(postgres_connection, "ANSWER_TIMEOUT_S", 1_000.0)
    received, broker = collect(make_broker()), make_broker()
    publish_until_received(broker, received, b"before")
    with paused(postgres):
        broker.publish(make_messages(b"in vain"))
        broker.close()


def test_a_password_that_cannot_be_fetched_is_logged_once_and_tried_again(
    make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(address: PostgresAddress) -> str:
        tries.append(address)
        raise RuntimeError("the vault is closed")

    tries: list[PostgresAddress] = []
    received, broker = collect(make_broker()), make_broker()
    with monkeypatch.context() as patched:
        patched.setattr(PostgresAddress, "conninfo", fail)
        assert_eventually(lambda: not try_to_publish(broker, b"in vain"), "publishing is refused")
        assert_eventually(lambda: len(tries) > 2, "it is tried again")
    publish_until_received(broker, received, b"after")
    assert caplog.text.count("RuntimeError: the vault is closed") == 1
