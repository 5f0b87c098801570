"""The PostgreSQL broker over a real server: its cost for the server, its channels, the end of a process."""

import time
from typing import Any

import psycopg
import pytest

from telltale.brokers.base import Message
from telltale.brokers.postgres import notification_thread
from telltale.brokers.postgres.address import default_channel
from telltale.brokers.postgres.payloads import Batch, Reassembler
from telltale.testing.brokers import assert_eventually, collect, make_messages
from tests.brokers.factory import MakeBroker
from tests.brokers.processes import run_process
from tests.servers import Postgres

pytestmark = pytest.mark.service

AdminConnection = psycopg.Connection[Any]

SET_UP = """
from django.conf import settings; settings.TELLTALE = {**settings.TELLTALE, "SIGN_MESSAGES": False}
import django; django.setup()
from telltale.brokers import broker
from telltale.brokers.postgres import broker as postgres_broker, notification_thread
from telltale.testing.brokers import *
postgres_broker.LISTEN_TIMEOUT_S = notification_thread.CLOSE_TIMEOUT_S = 30.0  # For slow machines.
"""


def connections(admin: AdminConnection) -> list[tuple[str, Any]]:
    """State and open transaction of each connection that Telltale has made."""
    query = "SELECT state, xact_start FROM pg_stat_activity WHERE application_name = 'telltale'"
    return admin.execute(query).fetchall()


def test_a_process_has_one_connection_that_never_stays_in_a_transaction(
    make_broker: MakeBroker, admin: AdminConnection
) -> None:
    broker = make_broker()
    first, second = collect(broker), collect(broker)
    for n in range(20):
        broker.publish(make_messages(f"{n}".encode()))
        time.sleep(0.01)
    first.assert_received(b"19")
    second.assert_received(b"19")
    assert_eventually(lambda: connections(admin) == [("idle", None)], "there is one connection, and it is idle")


def test_a_process_that_only_publishes_disconnects_after_a_while(
    make_broker: MakeBroker, admin: AdminConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_thread, "IDLE_S", 0.3)
    broker = make_broker()
    broker.publish(make_messages(b"one"))
    assert_eventually(lambda: len(connections(admin)) == 1, "it is connected")
    assert_eventually(lambda: connections(admin) == [], "it has disconnected")
    received = collect(make_broker())
    broker.publish(make_messages(b"two"))
    received.assert_received(b"two")


def test_a_closed_broker_leaves_no_connection_and_may_be_used_again(
    make_broker: MakeBroker, admin: AdminConnection
) -> None:
    broker = make_broker()
    collect(broker)
    broker.close()
    assert_eventually(lambda: connections(admin) == [], "it has disconnected")
    received = collect(broker)
    broker.publish(make_messages(b"again"))
    received.assert_received(b"again")


def test_almost_a_thousand_messages_a_second_are_twenty_transactions(
    make_broker: MakeBroker, admin: AdminConnection
) -> None:
    admin.execute(f"LISTEN {default_channel()}")
    received, broker = collect(make_broker()), make_broker()
    started_at = time.monotonic()
    count = 0
    while time.monotonic() - started_at < 2:
        broker.publish([Message((f"project:{count % 50}",), f"{count}".encode())])
        count += 1
        time.sleep(0.001)
    took_s = time.monotonic() - started_at
    last = f"{count - 1}".encode()
    received.assert_received(last)
    batches = received_batches(admin, last)
    assert 2 < len(batches) <= took_s / notification_thread.SEND_EVERY_S + 5
    assert [body for batch in batches for body in batch.bodies] == [f"{n}".encode() for n in range(count)]


def received_batches(admin: AdminConnection, last: bytes) -> list[Batch]:
    """The content of each transaction until that of `last`, without the probes of starting processes."""
    reassembler, batches = Reassembler(), []
    for notification in admin.notifies(timeout=20):
        batch = reassembler.add(notification.payload.encode())
        if batch is not None and batch != Batch():
            batches.append(batch)
            if last in batch.bodies:
                break
    return batches


def test_a_single_message_is_sent_at_once_and_received_by_its_own_process_too(
    make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notification_thread, "SEND_EVERY_S", 1_000.0)
    broker = make_broker()
    received, received_by_publisher = collect(make_broker()), collect(broker)
    broker.publish(make_messages(b"one"))
    received.assert_received(b"one")
    received_by_publisher.assert_received(b"one")


def test_messages_beyond_the_limit_are_reported_as_missed_by_topic_and_then_for_any_topic(
    make_broker: MakeBroker,
) -> None:
    listening, broker = make_broker(), make_broker()
    missed: list[Any] = []
    listening.listen(lambda bodies: None, missed.append)
    for n in range(300):
        broker.publish(make_messages(b"x" * 1_000, topic=f"project:{n % 3}"))
    assert_eventually(lambda: {"project:0", "project:1", "project:2"} in missed, "the topics are reported")
    for n in range(3_000):
        broker.publish(make_messages(b"x" * 1_000, topic=f"project:{n}"))
    assert_eventually(lambda: None in missed, "any topic is reported")


def test_two_sites_in_one_database_receive_nothing_of_each_other(make_broker: MakeBroker, postgres: Postgres) -> None:
    ours, theirs = make_broker(), make_broker(f"{postgres.url}?channel=another_site")
    received = collect(theirs)
    ours.publish(make_messages(b"ours"))
    theirs.publish(make_messages(b"theirs"))
    received.assert_received(b"theirs")
    assert received == [b"theirs"]


def test_f41_an_unreadable_notification_is_reported_as_missed_and_the_listener_goes_on(
    make_broker: MakeBroker, admin: AdminConnection
) -> None:
    received = collect(make_broker())
    admin.execute("SELECT pg_notify(%s, 'from another program')", [default_channel()])
    assert_eventually(lambda: received.missed_count == 1, "missed messages are reported")
    make_broker().publish(make_messages(b"goes on"))
    received.assert_received(b"goes on")


@pytest.mark.parametrize("earlier", ["", "broker().publish(make_messages(b'earlier')); import time; time.sleep(0.2)\n"])
def test_messages_published_just_before_a_process_ends_are_received(
    make_broker: MakeBroker, postgres: Postgres, earlier: str
) -> None:
    received = collect(make_broker())
    code = "broker().publish(make_messages(b'almost')); broker().publish(make_messages(b'the end'))"
    run_process(SET_UP + earlier + code, TELLTALE_BROKER=postgres.url)
    received.assert_received(b"almost", b"the end")


def test_a_url_without_a_server_means_djangos_database(make_broker: MakeBroker, postgres: Postgres) -> None:
    received = collect(make_broker())
    code = "broker().publish(make_messages(b'through Django')); print(broker().address.server)"
    env = {
        "TELLTALE_BROKER": "postgres://",
        "TELLTALE_TEST_POSTGRES": str(postgres.port),
        "TELLTALE_TEST_DB": "postgres",
    }
    assert run_process(SET_UP + code, **env) == "None\n"
    received.assert_received(b"through Django")


def test_f45_a_forked_child_has_its_own_connection_and_leaves_the_parents_alone(
    make_broker: MakeBroker, postgres: Postgres
) -> None:
    received = collect(make_broker())
    code = """
import os
inherited = broker()
received = collect(inherited)
inherited.publish(make_messages(b"before"))
received.assert_received(b"before")
child = os.fork()
if child == 0:
    inherited.publish(make_messages(b"by the inherited broker"))
    received_by_child = collect(broker())
    broker().publish(make_messages(b"by the child's broker"))
    received_by_child.assert_received(b"by the child's broker")
    inherited.close(), broker().close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
received.assert_received(b"by the child's broker", b"by the inherited broker")
inherited.publish(make_messages(b"after"))
received.assert_received(b"after")
print(received.missed_count)
"""
    # Newer Pythons warn of threads at a fork, which is tested here.
    assert run_process(SET_UP + code, warnings="ignore", TELLTALE_BROKER=postgres.url) == "0\n"
    received.assert_received(b"before", b"by the inherited broker", b"by the child's broker", b"after")


def test_f46_under_gevent_messages_are_sent_and_received_while_a_task_computes(
    make_broker: MakeBroker, postgres: Postgres
) -> None:
    received = collect(make_broker())
    code = """
from gevent import monkey; monkey.patch_all()
from django.conf import settings; settings.TELLTALE = {**settings.TELLTALE, "SIGN_MESSAGES": False}
import django; django.setup()
import time
from telltale.brokers import broker
from telltale.testing.brokers import Received, make_messages
received = Received()
broker().listen(received.deliver, received.on_missed)
broker().publish(make_messages(b"by a greenlet"))
deadline = time.monotonic() + 20
while b"by a greenlet" not in received and time.monotonic() < deadline:
    sum(range(1000))
print(len(received))
"""
    assert run_process(code, TELLTALE_BROKER=postgres.url) == "1\n"
    received.assert_received(b"by a greenlet")
