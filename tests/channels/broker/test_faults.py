"""`channels://` while Redis is killed, paused or emptied, while processes stop, fork and die, and while loops end.

Each test ends in the same way: only `BrokerUnavailable` was raised, messages published from then on are received,
and listeners that may have lost messages reported it.
"""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest
from django.conf import settings as django_settings

from telltale.brokers.base import Broker, Message, MonitoredListener
from telltale.brokers.redis.broker import RedisBroker
from telltale.channels.broker.broker import ChannelsBroker
from telltale.channels.broker.group import SLOT_S
from telltale.testing.brokers import (
    MakeBroker,
    Received,
    assert_eventually,
    collect,
    listen,
    make_messages,
)
from tests.brokers.factory import broker_factory
from tests.brokers.loop_broker import LoopBroker, running_loop
from tests.brokers.processes import PATCH_BY_GEVENT, PUBLISH_UNDER_GEVENT, run_process
from tests.brokers.publishing import assert_failing_at_once, assert_recovery, assert_works_again, try_to_publish
from tests.channels.layers import CORE, PUBSUB, layers
from tests.servers import Redis, running

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    """One server for all tests; a test that stops it starts it again."""
    with running(Redis) as server:
        yield server


@pytest.fixture(params=[CORE, PUBSUB])
def backend(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


@pytest.fixture
def make_broker(redis: Redis, backend: str, settings: Any) -> Iterator[MakeBroker]:
    """Builds brokers over a layer in Redis; each has a layer of its own, as in another process."""
    redis.forget()
    settings.CHANNEL_LAYERS = layers(backend, redis.url)
    with broker_factory("channels://") as make_broker:
        yield make_broker


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence and calls that hang are noticed after a second."""
    monkeypatch.setattr("telltale.channels.broker.subscription.SILENCE_S", 0.5)
    monkeypatch.setattr("telltale.channels.broker.subscription.ANSWER_TIMEOUT_S", 1.0)
    monkeypatch.setattr("telltale.channels.broker.subscription.LAYER_TIMEOUT_S", 1.0)
    monkeypatch.setattr("telltale.channels.broker.sender.LAYER_TIMEOUT_S", 1.0)


def wait_until_sent(broker: Broker) -> None:
    """Wait until the layer has everything that was published."""
    layer_thread = cast(ChannelsBroker, broker)._layer_thread
    assert layer_thread is not None
    sender = layer_thread.sender
    assert_eventually(lambda: not (sender._buffer or sender._is_sending), "the bundle is sent")


# Redis ------------------------------------------------------------------------------------------


def test_while_redis_is_down_publishing_fails_and_missed_messages_are_reported_again_and_again(
    redis: Redis, make_broker: MakeBroker
) -> None:
    received, broker = collect(make_broker()), make_broker()
    broker.publish(make_messages(b"before"))
    received.assert_received(b"before")
    redis.stop(signal.SIGKILL)
    assert_eventually(lambda: not try_to_publish(broker, b"meanwhile"), "publishing fails")
    assert_eventually(lambda: received.missed_count >= 3, "missed messages are reported again and again")
    assert_failing_at_once(broker)
    redis.start()
    assert_recovery(broker, received)


def test_a_listener_knows_whether_the_layer_fails(redis: Redis, make_broker: MakeBroker) -> None:
    received = Received()
    listener = make_broker().listen(received.deliver, received.on_missed)
    assert isinstance(listener, MonitoredListener)
    assert listener.is_connected
    redis.stop(signal.SIGKILL)
    assert_eventually(lambda: not listener.is_connected, "the outage is known")
    redis.start()
    assert_eventually(lambda: listener.is_connected, "its end is known")
    listener.close()


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(
    redis: Redis, make_broker: MakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    received, broker = collect(make_broker()), make_broker()
    redis.stop(signal.SIGKILL)
    assert_eventually(lambda: received.missed_count >= 3, "missed messages are reported again and again")
    redis.start()
    assert_recovery(broker, received)
    assert_eventually(lambda: "The channel layer 'default' works again" in caplog.text, "the end is logged")
    begun = [record for record in caplog.records if "The channel layer 'default' failed" in record.message]
    assert len(begun) <= 2  # Once for each of the two brokers.


def test_a_pause_of_redis_is_noticed_and_then_publishing_fails_at_once(
    redis: Redis, make_broker: MakeBroker, short_silence: None
) -> None:
    received, broker = collect(make_broker()), make_broker()
    broker.publish(make_messages(b"before"))
    received.assert_received(b"before")
    with redis.paused():
        assert_eventually(lambda: not try_to_publish(broker, b"meanwhile"), "publishing fails")
        assert_failing_at_once(broker)
    assert_recovery(broker, received)


def test_a_pause_without_traffic_is_noticed_too(redis: Redis, make_broker: MakeBroker, short_silence: None) -> None:
    received = collect(make_broker())
    with redis.paused():
        assert_eventually(lambda: received.missed_count > 0, "missed messages are reported")
    assert_recovery(make_broker(), received)


def test_a_short_pause_loses_nothing(redis: Redis, make_broker: MakeBroker) -> None:
    received, broker = collect(make_broker()), make_broker()
    broker.publish(make_messages(b"before"))
    received.assert_received(b"before")
    with redis.paused():
        broker.publish(make_messages(b"meanwhile"))
        time.sleep(0.3)
    received.assert_received(b"before", b"meanwhile")
    assert received.missed_count == 0


def test_f58_a_group_that_redis_has_forgotten_is_joined_again(
    redis: Redis, make_broker: MakeBroker, short_silence: None
) -> None:
    received, broker = collect(make_broker()), make_broker()
    redis.forget()
    assert_works_again(broker, received)


def test_cut_connections_lose_no_message_that_is_not_reported_as_missed(redis: Redis, make_broker: MakeBroker) -> None:
    received, broker = collect(make_broker()), make_broker()
    for n in range(60):
        try_to_publish(broker, b"%d" % n)
        if n % 20 == 10:
            with redis.client() as admin:
                admin.client_kill_filter(_type="pubsub")
                admin.client_kill_filter(_type="normal", skipme=True)
        time.sleep(0.05)
    expected = {b"%d" % n for n in range(60)}
    assert_eventually(
        lambda: expected <= set(received) or received.missed_count > 0,
        "all messages are received or reported as missed",
    )
    assert_works_again(broker, received)


# A full layer -----------------------------------------------------------------------------------

SET_UP = """
import json, os, sys, threading, time, warnings
from django.conf import settings
from telltale.brokers import build
from telltale.brokers.base import Message
from telltale.channels.broker import broker, thread
broker.LISTEN_TIMEOUT_S = thread.CLOSE_TIMEOUT_S = 30.0  # A slow machine needs more than a second.
del broker
settings.CHANNEL_LAYERS = json.loads(sys.argv[1])
def make_messages(body): return [Message(("project:7",), body)]
"""

LISTENER = """
received, missed = [], []
broker = build("channels://")
listener = broker.listen(received.extend, missed.append)
listener.follow(["project:7"])
print("listening", flush=True)
while b"first" not in received: time.sleep(0.01)
print("first", flush=True)
sys.stdin.readline()
deadline = time.monotonic() + 40
while not (missed and b"last" in received) and time.monotonic() < deadline: time.sleep(0.01)
print(json.dumps([len(missed), broker.lost_bundles, [body.decode() for body in received]]), flush=True)
broker.close()
"""


def same_site() -> dict[str, str]:
    """The environment of another process of the site: one that shares its database."""
    return {"TELLTALE_TEST_DB": str(django_settings.DATABASES["default"]["NAME"])}


@contextmanager
def listening_process(channel_layers: dict[str, Any]) -> Iterator["subprocess.Popen[str]"]:
    """Another process of the site, which listens; after a line of input, it prints what it has received."""
    process = subprocess.Popen(
        [sys.executable, "-c", SET_UP + LISTENER, json.dumps(channel_layers)],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", **same_site()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def publish_last(broker: Broker, process: "subprocess.Popen[str]") -> tuple[int, int, list[str]]:
    """Publish the last message until the process has received it; return what the process has printed."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()

    def has_printed() -> bool:
        broker.publish(make_messages(b"last"))
        return bool(select.select([process.stdout], [], [], 0.2)[0])

    assert_eventually(has_printed, "the process receives the last message")
    missed_count, lost_bundles, received = json.loads(process.stdout.readline())
    return missed_count, lost_bundles, received


@pytest.mark.parametrize("backend", [CORE], indirect=True)
@pytest.mark.parametrize("limit", [{"capacity": 3}, {"expiry": 1}])
def test_f58_bundles_that_a_layer_drops_are_counted_and_reported_as_missed(
    redis: Redis, make_broker: MakeBroker, settings: Any, limit: dict[str, int]
) -> None:
    settings.CHANNEL_LAYERS = layers(CORE, redis.url, **limit)
    broker = make_broker()
    with listening_process(settings.CHANNEL_LAYERS) as process:
        broker.publish(make_messages(b"first"))
        assert process.stdout is not None
        assert process.stdout.readline() == "first\n"
        process.send_signal(signal.SIGSTOP)
        for n in range(10):
            broker.publish(make_messages(b"%d" % n))
            wait_until_sent(broker)
        time.sleep(2.0 * limit.get("expiry", 0))
        process.send_signal(signal.SIGCONT)
        missed_count, lost_bundles, received = publish_last(broker, process)
    assert missed_count > 0
    assert lost_bundles >= 5
    assert {"first", "last"} <= set(received)
    assert not {f"{n}" for n in range(10)} <= set(received)


@pytest.mark.parametrize("backend", [CORE], indirect=True)
def test_a_lost_last_bundle_is_noticed_without_a_further_message(redis: Redis, make_broker: MakeBroker) -> None:
    """The beacon repeats its number."""
    listening, broker = make_broker(), make_broker()
    received = collect(listening)
    broker.publish(make_messages(b"before"))
    received.assert_received(b"before")
    missed_before = received.missed_count
    wait_until_slot_is_long()
    with redis.client() as admin:
        # The group is away for a moment, and this bundle reaches no process.
        [group] = [key for key in admin.keys("asgi:group:*") if key.endswith(current_slot())]
        admin.rename(group, "away")
        broker.publish(make_messages(b"lost"))
        wait_until_sent(broker)
        admin.rename("away", group)
    assert_eventually(lambda: received.missed_count > missed_before, "the lost bundle is reported as missed")
    assert b"lost" not in received
    assert cast(ChannelsBroker, listening).lost_bundles == 1


def current_slot() -> bytes:
    return b"-%d" % (time.time() // SLOT_S)


def wait_until_slot_is_long() -> None:
    """Sleep over the end of a slot: the group's name must stay the same for some seconds."""
    remaining_s = SLOT_S - time.time() % SLOT_S
    if remaining_s < 10:
        time.sleep(remaining_s)


def test_more_messages_than_a_bundle_holds_are_reported_as_missed_by_topic(make_broker: MakeBroker) -> None:
    topics: set[str] = set()
    received, broker = Received(), cast(ChannelsBroker, make_broker())
    listener = make_broker().listen(received.deliver, lambda missed: topics.update(missed or ()))
    listener.follow([f"project:{n}" for n in range(10)])  # type: ignore[attr-defined]
    broker.publish([Message((f"project:{n % 20}",), b"%d" % n + b"x" * 16_000) for n in range(40)])
    assert_eventually(lambda: topics == {f"project:{n}" for n in range(10)}, "the dropped topics are reported")
    assert broker.dropped_messages == 40 - 16


# Loops, processes and threads -------------------------------------------------------------------


def test_messages_are_published_from_event_loops_that_come_and_go(make_broker: MakeBroker) -> None:
    received, broker = collect(make_broker()), make_broker()

    async def publish(n: int) -> None:
        broker.publish(make_messages(b"in a coroutine %d" % n))
        await asyncio.to_thread(broker.publish, make_messages(b"in its thread %d" % n))

    for n in range(10):
        asyncio.run(publish(n))
    received.assert_received(*(b"in a coroutine %d" % n for n in range(10)))
    received.assert_received(*(b"in its thread %d" % n for n in range(10)))


def test_publishing_on_an_event_loop_does_not_wait_for_the_layer(redis: Redis, make_broker: MakeBroker) -> None:
    received, broker = collect(make_broker()), make_broker()
    broker.publish(make_messages(b"first"))
    received.assert_received(b"first")

    async def main() -> None:
        for n in range(100):
            broker.publish(make_messages(b"%d" % n))

    with redis.paused():
        asyncio.run(main())
        assert received == [b"first"]
    received.assert_received(*(b"%d" % n for n in range(100)))


def test_a_listener_whose_loop_has_ended_harms_no_other(make_broker: MakeBroker) -> None:
    broker, other = make_broker(), make_broker()
    with running_loop() as loop:
        on_loop = collect(LoopBroker(cast(RedisBroker, broker), loop))
        received = collect(broker)
        other.publish(make_messages(b"to both"))
        on_loop.assert_received(b"to both")
    other.publish(make_messages(b"to one"))
    received.assert_received(b"to both", b"to one")
    broker.close()


def test_a_forked_child_publishes_and_disturbs_neither_the_parent_nor_its_listeners(make_broker: MakeBroker) -> None:
    received, publisher = collect(make_broker()), make_broker()
    publisher_and_listener = make_broker()
    also_received = collect(publisher_and_listener)
    publisher.publish(make_messages(b"before"))
    received.assert_received(b"before")
    missed_before = received.missed_count
    with warnings.catch_warnings():
        # Newer Pythons warn of threads at a fork, which is tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            publisher.publish(make_messages(b"child"))
            publisher_and_listener.publish(make_messages(b"another by the child"))
            publisher_and_listener.close()
            publisher.close()
        finally:
            os._exit(0)
    for n in range(20):
        publisher.publish(make_messages(b"parent %d" % n))
        time.sleep(0.01)
    os.waitpid(child, 0)
    publisher.publish(make_messages(b"after"))
    by_parent = [b"before", *(b"parent %d" % n for n in range(20)), b"after"]
    for messages in (received, also_received):
        messages.assert_received(*by_parent, b"child", b"another by the child")
    assert received.missed_count == missed_before


PREFORK = """
import multiprocessing
broker = build("channels://")
def work(n):
    broker.publish(make_messages(b"child %d" % n))
    broker.close()
if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    broker.publish(make_messages(b"parent"))
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=work, args=(n,)) for n in range(4)]
    for child in children: child.start()
    for child in children: child.join()
    assert [child.exitcode for child in children] == [0] * 4
    broker.close()
"""


def test_the_children_of_a_prefork_pool_publish(make_broker: MakeBroker, settings: Any) -> None:
    received = collect(make_broker())
    run_process(SET_UP + PREFORK, json.dumps(settings.CHANNEL_LAYERS), **same_site())
    received.assert_received(b"parent", *(b"child %d" % n for n in range(4)))


def test_messages_published_just_before_a_process_ends_are_received(make_broker: MakeBroker, settings: Any) -> None:
    received = collect(make_broker())
    code = """
settings.TELLTALE = {"BROKER": "channels://", "SIGN_MESSAGES": False}
from telltale.brokers import broker
for n in range(1000):
    broker().publish(make_messages(b"%d" % n))
"""
    run_process(SET_UP + code, json.dumps(settings.CHANNEL_LAYERS), **same_site())
    received.assert_received(*(b"%d" % n for n in range(1000)))


def test_threads_and_greenlets_publish_under_gevent(make_broker: MakeBroker, settings: Any) -> None:
    code = PATCH_BY_GEVENT + SET_UP + "url = 'channels://'" + PUBLISH_UNDER_GEVENT
    assert run_process(code, json.dumps(settings.CHANNEL_LAYERS)) == "all []\n"


def test_a_listener_that_hangs_delays_neither_senders_nor_other_listeners(make_broker: MakeBroker) -> None:
    listening, broker = make_broker(), make_broker()
    released = threading.Event()

    def deliver(bodies: Sequence[bytes]) -> None:
        released.wait(50)

    listen(listening, deliver)
    received = collect(listening)
    for n in range(5):
        broker.publish(make_messages(b"%d" % n))
        received.assert_received(b"%d" % n)
    released.set()


# Groups -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [CORE], indirect=True)
def test_memberships_are_renewed_before_they_expire(redis: Redis, make_broker: MakeBroker, settings: Any) -> None:
    settings.CHANNEL_LAYERS = layers(CORE, redis.url, group_expiry=12)  # Slots of three seconds.
    received, broker = collect(make_broker()), make_broker()
    broker.publish(make_messages(b"before"))
    received.assert_received(b"before")
    missed_before = received.missed_count
    for n in range(90):
        broker.publish(make_messages(b"%d" % n))
        time.sleep(0.1)
    received.assert_received(*(b"%d" % n for n in range(90)))
    assert received.missed_count == missed_before


@pytest.mark.parametrize("backend", [CORE], indirect=True)
def test_a_killed_process_is_soon_sent_nothing_more(redis: Redis, make_broker: MakeBroker, settings: Any) -> None:
    settings.CHANNEL_LAYERS = layers(CORE, redis.url, group_expiry=12)  # Slots of three seconds.
    broker = make_broker()
    with listening_process(settings.CHANNEL_LAYERS) as process:
        process.kill()
        process.wait()

    def is_kept() -> bool:
        with redis.client() as admin:
            admin.delete(*admin.keys("asgispecific*"), "none")
            broker.publish(make_messages(b"to no process"))
            wait_until_sent(broker)
            return bool(admin.keys("asgispecific*"))

    assert is_kept()
    assert_eventually(lambda: not is_kept(), "nothing is kept for the killed process")


def test_a_closed_broker_leaves_nothing_in_redis_but_expiring_keys(
    redis: Redis, make_broker: MakeBroker, settings: Any
) -> None:
    listening, broker = make_broker(), make_broker()
    received = collect(listening)
    broker.publish(make_messages(b"one"))
    received.assert_received(b"one")
    listening.close()
    broker.close()
    with redis.client() as admin:
        assert admin.keys("asgi:group:*") == []
        assert [key for key in admin.keys("*") if admin.ttl(key) < 0] == []
        assert_eventually(lambda: admin.pubsub_channels("*") == [], "the connections are closed")


def test_sites_with_other_keys_do_not_receive_each_other(make_broker: MakeBroker, settings: Any) -> None:
    received, broker = collect(make_broker()), make_broker()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "SECRET_KEY", "another site")
        others = collect(make_broker())
        other_broker = make_broker()
        other_broker.publish(make_messages(b"other"))
        others.assert_received(b"other")
    broker.publish(make_messages(b"ours"))
    received.assert_received(b"ours")
    assert received == [b"ours"]
    assert others == [b"other"]


@pytest.mark.parametrize("backend", [CORE], indirect=True)
@pytest.mark.parametrize(
    "config", [{"serializer_format": "json"}, {"symmetric_encryption_keys": ["secret"]}, {"prefix": "mysite"}]
)
def test_any_serializer_and_encryption_of_the_layer_will_do(
    redis: Redis, make_broker: MakeBroker, settings: Any, config: dict[str, Any]
) -> None:
    if "symmetric_encryption_keys" in config:
        pytest.importorskip("cryptography")
    settings.CHANNEL_LAYERS = layers(CORE, redis.url, **config)
    received = collect(make_broker())
    make_broker().publish(make_messages(b"\0\n\xff", "Zürich 🛫".encode()))
    received.assert_received(b"\0\n\xff", "Zürich 🛫".encode())


def test_the_projects_own_consumers_receive_from_the_same_layer_at_the_same_time(
    make_broker: MakeBroker, settings: Any
) -> None:
    from channels.layers import get_channel_layer

    received, broker = collect(make_broker()), make_broker()

    async def consume() -> list[dict[str, Any]]:
        layer: Any = get_channel_layer()
        channel = await layer.new_channel()
        await layer.group_add("chat", channel)
        messages = []
        for n in range(5):
            broker.publish(make_messages(b"%d" % n))
            await layer.group_send("chat", {"type": "chat.message", "n": n})
            messages.append(await layer.receive(channel))
        return messages

    assert [message["n"] for message in asyncio.run(consume())] == [0, 1, 2, 3, 4]
    received.assert_received(*(b"%d" % n for n in range(5)))
