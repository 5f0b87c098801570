"""PostgreSQL as a broker, over a real server: what it costs the server, who hears whom, how a process ends."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from telltale.brokers.base import Broker, Message
from telltale.brokers.postgres import courier as postgres_courier
from telltale.brokers.postgres.address import default_channel
from telltale.brokers.postgres.payloads import Arrived, Joiner
from telltale.testing.brokers import eventually, hear, said
from tests.servers import ROOT, Postgres

pytestmark = pytest.mark.service

Make = Callable[..., Broker]
Connection = psycopg.Connection[Any]

OURS = "FROM pg_stat_activity WHERE application_name = 'telltale'"


def connections(bystander: Connection) -> list[tuple[str, Any]]:
    """State and open transaction of each of our connections."""
    return bystander.execute(f"SELECT state, xact_start {OURS}").fetchall()


def runs(postgres: Postgres, code: str, **more: str) -> str:
    """What another process of the site says that runs `code`, which must end by itself."""
    env = {**os.environ, "TELLTALE_BROKER": postgres.url, "DJANGO_SETTINGS_MODULE": "tests.settings", **more}
    setup = (
        "import django; django.setup()\nfrom telltale.brokers import broker\nfrom telltale.testing.brokers import *\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", setup + code if "monkey" not in code else code]
    ran = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return ran.stdout


def test_a_process_has_one_connection_that_never_stays_in_a_transaction(make: Make, bystander: Connection) -> None:
    broker = make()
    heard = [hear(broker), hear(broker)]
    for n in range(20):
        broker.publish(said(f"{n}".encode()))
        time.sleep(0.01)
    for one in heard:
        one.until(b"19")
    eventually(lambda: connections(bystander) == [("idle", None)], "there is one connection, and it is idle")


def test_who_only_publishes_gives_the_connection_back_after_a_while(
    make: Make, bystander: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_courier, "IDLE_S", 0.3)
    broker = make()
    broker.publish(said(b"one"))
    eventually(lambda: len(connections(bystander)) == 1, "it is connected")
    eventually(lambda: connections(bystander) == [], "it has hung up")
    heard = hear(make())
    broker.publish(said(b"two"))
    heard.until(b"two")


def test_a_closed_broker_leaves_no_connection_and_may_be_used_again(make: Make, bystander: Connection) -> None:
    broker = make()
    hear(broker)
    broker.close()
    eventually(lambda: connections(bystander) == [], "it has hung up")
    heard = hear(broker)
    broker.publish(said(b"again"))
    heard.until(b"again")


def test_a_thousand_messages_a_second_are_twenty_transactions(make: Make, bystander: Connection) -> None:
    bystander.execute(f"LISTEN {default_channel()}")
    heard, broker = hear(make()), make()
    began = time.monotonic()
    n = 0
    while time.monotonic() - began < 2:
        broker.publish([Message((f"project:{n % 50}",), f"{n}".encode())])
        n += 1
        time.sleep(max(0.0, began + n / 1_000 - time.monotonic()))
    took_s = time.monotonic() - began
    heard.until(f"{n - 1}".encode())
    arrived = sent_in_transactions(bystander)
    assert 2 < len(arrived) <= took_s / postgres_courier.SEND_EVERY_S + 5
    assert [body for one in arrived for body in one.bodies] == [f"{m}".encode() for m in range(n)]


def sent_in_transactions(bystander: Connection) -> list[Arrived]:
    """What the bystander heard, by transaction; the tries of processes whether they hear left out."""
    joiner = Joiner()
    heard = (joiner.add(notification.payload.encode()) for notification in bystander.notifies(timeout=0.2))
    return [one for one in heard if one is not None and one != Arrived()]


def test_a_message_that_comes_alone_is_sent_at_once_and_heard_by_its_own_process_too(make: Make) -> None:
    broker = make()
    heard, own = hear(make()), hear(broker)
    took_s = []
    for n in range(20):
        time.sleep(0.06)
        began = time.monotonic()
        broker.publish(said(f"{n}".encode()))
        heard.until(f"{n}".encode())
        own.until(f"{n}".encode())
        took_s.append(time.monotonic() - began)
    assert min(took_s) < postgres_courier.SEND_EVERY_S
    assert sorted(took_s)[10] < 1


def test_a_burst_beyond_all_room_names_topics_and_then_any(make: Make) -> None:
    listening, broker = make(), make()
    missed: list[Any] = []
    listening.listen(lambda bodies: None, missed.append)
    for n in range(300):
        broker.publish(said(b"x" * 1_000, topic=f"project:{n % 3}"))
    eventually(lambda: {"project:0", "project:1", "project:2"} in missed, "the topics are named")
    for n in range(3_000):
        broker.publish(said(b"x" * 1_000, topic=f"project:{n}"))
    eventually(lambda: None in missed, "any may be missing")


def test_two_sites_in_one_database_hear_nothing_of_each_other(make: Make, postgres: Postgres) -> None:
    ours, theirs = make(), make(f"{postgres.url}?channel=another_site")
    heard = hear(theirs)
    ours.publish(said(b"ours"))
    theirs.publish(said(b"theirs"))
    heard.until(b"theirs")
    assert heard == [b"theirs"]


def test_a_strangers_notification_makes_listeners_read_the_store_and_breaks_nothing(
    make: Make, bystander: Connection
) -> None:
    heard = hear(make())
    bystander.execute("SELECT pg_notify(%s, 'a stranger''s')", [default_channel()])
    eventually(lambda: heard.missed == 1, "what can't be read counts as missed")
    make().publish(said(b"goes on"))
    heard.until(b"goes on")


@pytest.mark.parametrize("earlier", ["", "broker().publish(said(b'earlier')); import time; time.sleep(0.2)\n"])
def test_what_is_published_just_before_a_process_ends_is_heard(make: Make, postgres: Postgres, earlier: str) -> None:
    heard = hear(make())
    runs(postgres, f"{earlier}broker().publish(said(b'almost')); broker().publish(said(b'its end'))")
    heard.until(b"almost", b"its end")


def test_alone_it_means_the_database_of_django(make: Make, postgres: Postgres) -> None:
    heard = hear(make())
    code = "broker().publish(said(b'by way of Django')); print(broker().address.server)"
    env = {
        "TELLTALE_BROKER": "postgres://",
        "TELLTALE_TEST_POSTGRES": str(postgres.port),
        "TELLTALE_TEST_DB": "postgres",
    }
    assert runs(postgres, code, **env) == "None\n"
    heard.until(b"by way of Django")


def test_a_forked_child_has_a_connection_of_its_own_and_leaves_the_parents_alone(
    make: Make, postgres: Postgres
) -> None:
    heard = hear(make())
    code = """
import os
present = broker()
mine = hear(present)
present.publish(said(b"before"))
mine.until(b"before")
child = os.fork()
if child == 0:
    present.publish(said(b"by the inherited one"))
    its = hear(broker())
    broker().publish(said(b"by the child"))
    its.until(b"by the child")
    present.close(), broker().close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
mine.until(b"by the child", b"by the inherited one")
present.publish(said(b"after"))
mine.until(b"after")
print(mine.missed)
"""
    assert runs(postgres, code) == "0\n"
    heard.until(b"before", b"by the inherited one", b"by the child", b"after")


def test_under_gevent_it_sends_and_hears_while_a_task_computes(make: Make, postgres: Postgres) -> None:
    heard = hear(make())
    code = """
from gevent import monkey; monkey.patch_all()
import django; django.setup()
import time
from telltale.brokers import broker
from telltale.testing.brokers import Heard, said
mine = Heard()
broker().listen(mine.deliver, mine.miss)
broker().publish(said(b"greenlet's"))
until = time.monotonic() + 20
while b"greenlet's" not in mine and time.monotonic() < until:
    sum(range(1000))
print(len(mine))
"""
    assert runs(postgres, code) == "1\n"
    heard.until(b"greenlet's")
