"""PostgreSQL as a broker while the server is restarted, hangs, or cuts connections: said once, and made good."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest

from telltale.brokers.base import Broker, BrokerUnavailable
from telltale.brokers.postgres import courier as postgres_courier
from telltale.brokers.postgres import line as postgres_line
from telltale.brokers.postgres.address import Address
from telltale.testing.brokers import Heard, eventually, hear, said
from tests.servers import Postgres

pytestmark = pytest.mark.service

Make = Callable[..., Broker]
Connection = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes tenths."""
    monkeypatch.setattr(postgres_line, "ANSWER_S", 1.0)
    monkeypatch.setattr(postgres_line, "CONNECT_S", 1.0)
    monkeypatch.setattr(postgres_courier, "LOOK_S", 0.3)
    monkeypatch.setattr(postgres_courier, "AGAIN_S", 0.5)
    monkeypatch.setattr(postgres_courier, "MISSED_EVERY_S", 0.2)


@contextmanager
def traffic(broker: Broker) -> Iterator[None]:
    """Something is published a hundred times a second, from a thread."""
    over = threading.Event()

    def publish() -> None:
        while not over.wait(0.01):
            with suppress(BrokerUnavailable):
                broker.publish(said(b"traffic"))

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def works_again(broker: Broker, heard: Heard, body: bytes) -> None:
    """What is published is heard, sooner or later: until then it is refused, or made good by a read of the store."""

    def is_heard() -> bool:
        with suppress(BrokerUnavailable):
            broker.publish(said(body))
        time.sleep(0.05)
        return body in heard

    eventually(is_heard, f"{body!r} is heard")


def pids(bystander: Connection) -> list[int]:
    rows = bystander.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'telltale'").fetchall()
    return [pid for (pid,) in rows]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_a_restart_of_the_server_is_survived_and_said_once(
    make: Make, postgres: Postgres, how: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    heard, broker = hear(make()), make()
    works_again(broker, heard, b"before")
    with traffic(broker):
        postgres.stop(how)
        refused = lambda: heard.missed > 1 and is_refused(broker)  # noqa: E731
        eventually(refused, "the publisher is refused, and the listener told again and again")
        postgres.begin()
        works_again(broker, heard, b"after")
    assert caplog.text.count("The connection that hears PostgreSQL's notifications failed") == 1
    assert caplog.text.count("The connection that hears PostgreSQL's notifications works again") == 1


def is_refused(broker: Broker) -> bool:
    try:
        broker.publish(said(b"in vain"))
    except BrokerUnavailable:
        return True
    return False


def test_what_was_refused_is_made_good_by_a_read_of_the_store(
    make: Make, postgres: Postgres, bystander: Connection
) -> None:
    bystander.execute("CREATE ROLE worker LOGIN")
    heard, broker = hear(make()), make(postgres.url.replace("telltale@", "worker@"))
    works_again(broker, heard, b"before")
    bystander.execute("ALTER ROLE worker NOLOGIN")
    bystander.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'worker'")
    eventually(lambda: is_refused(broker), "the publisher is refused")
    assert heard.missed == 0
    bystander.execute("ALTER ROLE worker LOGIN")
    eventually(lambda: heard.missed == 1, "the listener is told that it missed something")
    works_again(broker, heard, b"after")
    broker.close()
    bystander.execute("DROP ROLE worker")


def test_a_server_that_is_not_there_at_first_is_heard_once_it_is(make: Make, postgres: Postgres) -> None:
    postgres.stop()
    heard, broker = hear(make()), make()
    eventually(lambda: heard.missed > 2, "the listener is told that it misses something")
    postgres.begin()
    works_again(broker, heard, b"at last")


def test_connections_that_the_server_ends_amid_traffic_are_made_anew(make: Make, bystander: Connection) -> None:
    heard, broker = hear(make()), make()
    works_again(broker, heard, b"before")
    with traffic(broker):
        for pid in pids(bystander):
            missed = heard.missed
            bystander.execute("SELECT pg_terminate_backend(%s)", [pid])
            eventually(lambda: pid not in pids(bystander), "it is gone")  # noqa: B023 (done at once)
            eventually(lambda: len(pids(bystander)) == 2, "there is another")
            works_again(broker, heard, f"after {pid}".encode())
    assert missed <= heard.missed
    assert heard.missed > 0


def test_a_publisher_that_was_cut_off_sends_again_what_it_was_sending(make: Make, bystander: Connection) -> None:
    heard, broker = hear(make()), make()
    works_again(broker, heard, b"before")
    listener_was_not_cut = heard.missed
    [publishers] = [pid for pid in pids(bystander) if is_publisher(bystander, pid)]
    bystander.execute("SELECT pg_terminate_backend(%s)", [publishers])
    eventually(lambda: publishers not in pids(bystander), "it is gone")
    broker.publish(said(b"not lost"))
    heard.until(b"not lost")
    assert heard.missed == listener_was_not_cut


def is_publisher(bystander: Connection, pid: int) -> bool:
    """Its last statement was a notification; a listener's was LISTEN, or the question for a sign of life."""
    row = bystander.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
    return row is not None and "pg_notify" in row[0]


@pytest.mark.skipif(os.name != "posix", reason="stops processes by signals")
def test_a_line_that_only_looks_alive_is_noticed(make: Make, bystander: Connection) -> None:
    heard = hear(make())
    [pid] = pids(bystander)
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: heard.missed > 0, "the listener is told that it misses something")
        works_again(make(), heard, b"by another line")
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_server_that_stands_still_delays_no_publisher(make: Make, postgres: Postgres) -> None:
    heard, broker = hear(make()), make()
    works_again(broker, heard, b"before")
    postgres.pause()
    try:
        slowest_s = 0.0

        def is_out_of_order() -> bool:
            nonlocal slowest_s
            began = time.monotonic()
            refused = is_refused(broker)
            slowest_s = max(slowest_s, time.monotonic() - began)
            return refused and heard.missed > 1

        eventually(is_out_of_order, "the publisher is refused, and the listener told")
        assert slowest_s < 1
        began = time.monotonic()
        make().close()
        broker.close()
        assert time.monotonic() - began < 5
    finally:
        postgres.resume()
    works_again(broker, heard, b"after")


def test_a_password_that_cannot_be_had_is_said_once_and_tried_again(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(address: Address) -> str:
        raise RuntimeError("the vault is closed")

    heard, broker = hear(make()), make()
    with monkeypatch.context() as patched:
        patched.setattr(Address, "conninfo", fails)
        eventually(lambda: is_refused(broker), "the publisher is refused")
        time.sleep(0.5)
    works_again(broker, heard, b"after")
    assert caplog.text.count("RuntimeError: the vault is closed") == 1
