"""The Redis broker while servers are killed, paused, emptied or replaced, and connections break.

Each test ends in the same way: only `BrokerUnavailable` was raised, messages published from then on are received,
and listeners that may have lost messages reported it.
"""

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest
from redis.exceptions import OutOfMemoryError

from telltale.brokers.base import Broker, SelectiveListener
from telltale.brokers.redis.address import parse
from telltale.brokers.redis.broker import RedisBroker
from telltale.testing.brokers import Received, assert_eventually, collect, listen_selectively, make_messages
from tests.brokers.factory import MakeBroker, broker_factory
from tests.brokers.loop_broker import LoopBroker, running_loop
from tests.brokers.publishing import assert_failing_at_once, assert_recovery, assert_works_again, try_to_publish
from tests.fault_proxy import FaultProxy
from tests.servers import Redis, RedisCluster, WatchedRedis, running

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    """One server for all tests; a test that stops it starts it again."""
    with running(Redis) as server:
        yield server


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with running(RedisCluster) as cluster:
        yield cluster


@pytest.fixture(params=["thread", "loop"])
def make_broker(redis: Redis, request: pytest.FixtureRequest) -> Iterator[MakeBroker]:
    """Builds brokers whose listeners run in a thread, or on an event loop."""
    if request.param == "thread":
        with broker_factory(redis.url) as make_broker:
            yield make_broker
        return
    with running_loop() as loop, broker_factory(redis.url) as make_redis_broker:

        def make_loop_broker(url: str = redis.url) -> Broker:
            return LoopBroker(cast(RedisBroker, make_redis_broker(url)), loop)

        yield make_loop_broker


@pytest.fixture
def short_timeouts(long_timeouts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed after a second."""
    monkeypatch.setattr("telltale.brokers.redis.subscription.KEEPALIVE_S", 0.5)
    monkeypatch.setattr("telltale.brokers.redis.subscription.ANSWER_TIMEOUT_S", 0.5)
    monkeypatch.setattr("telltale.brokers.redis.sender.ANSWER_TIMEOUT_S", 1.0)
    monkeypatch.setattr("telltale.brokers.redis.publisher.PUBLISH_TIMEOUT_S", 0.5)
    monkeypatch.setattr("telltale.brokers.redis.connection.CONNECT_TIMEOUT_S", 1.0)
    monkeypatch.setattr("telltale.brokers.redis.topology.CONNECT_TIMEOUT_S", 1.0)


def follow(broker: Broker, *topics: str) -> tuple[Received, SelectiveListener]:
    received = Received()
    listener = listen_selectively(broker, received)
    listener.follow(topics or ["project:7"])
    return received, listener


def test_a_listener_whose_connection_breaks_connects_again(redis: Redis, make_broker: MakeBroker) -> None:
    (received, _), broker = follow(make_broker()), make_broker()
    for n in range(300):
        broker.publish(make_messages(f"{n}".encode()))
        if n in {100, 200}:
            redis.cut_listeners()
    assert_recovery(broker, received)


def test_a_publisher_whose_connection_breaks_sends_unanswered_messages_again(
    redis: Redis, make_broker: MakeBroker
) -> None:
    (received, _), broker = follow(make_broker()), make_broker()
    with redis.client() as admin:
        for n in range(300):
            broker.publish(make_messages(f"{n}".encode()))
            if n % 50 == 25:
                admin.client_kill_filter(_type="normal", skipme=True)
    received.assert_received(*(f"{n}".encode() for n in range(300)))
    assert received.missed_count == 0


def test_while_redis_is_down_missed_messages_are_reported_again_and_again(
    redis: Redis, make_broker: MakeBroker
) -> None:
    (received, _), broker = follow(make_broker()), make_broker()
    redis.stop(signal.SIGKILL)
    assert_eventually(lambda: received.missed_count >= 3, "missed messages are reported again and again")
    redis.start()
    assert_recovery(broker, received)


def test_publishing_fails_at_once_while_redis_is_down_and_works_again_afterwards(
    redis: Redis, make_broker: MakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (received, listener), broker = follow(make_broker()), make_broker()
    broker.publish(make_messages(b"before"))
    received.assert_received(b"before")
    redis.stop(signal.SIGKILL)
    assert_eventually(lambda: not try_to_publish(broker, b"meanwhile"), "publishing fails")
    assert_failing_at_once(broker)
    monkeypatch.setattr("telltale.brokers.redis.listener.FOLLOW_TIMEOUT_S", 0.1)
    listener.follow(["project:9"])
    redis.start()
    assert_recovery(broker, received)
    assert_recovery(broker, received, "project:9")


def test_f15_publishers_do_not_wait_for_a_paused_redis(redis: Redis, make_broker: MakeBroker) -> None:
    (received, _), broker = follow(make_broker()), make_broker()
    broker.publish(make_messages(b"before"))
    received.assert_received(b"before")
    with redis.paused():
        for n in range(100):
            broker.publish(make_messages(b"%d" % n + b"x" * 1_000))
        assert received == [b"before"]
    received.assert_received(*(b"%d" % n + b"x" * 1_000 for n in range(100)))


def test_f15_a_pause_of_redis_is_noticed_and_then_publishing_fails_at_once(
    redis: Redis, make_broker: MakeBroker, short_timeouts: None
) -> None:
    (received, _), broker = follow(make_broker()), make_broker()
    broker.publish(make_messages(b"before"))
    received.assert_received(b"before")
    with redis.paused():
        assert_eventually(lambda: not try_to_publish(broker, b"meanwhile"), "publishing fails")
        assert_failing_at_once(broker)
    assert_recovery(broker, received)


def test_a_pause_without_traffic_is_noticed_too(redis: Redis, make_broker: MakeBroker, short_timeouts: None) -> None:
    received, _ = follow(make_broker())
    with redis.paused():
        assert_eventually(lambda: received.missed_count > 0, "missed messages are reported")
    assert_recovery(make_broker(), received)


def test_a_short_pause_loses_nothing(redis: Redis, make_broker: MakeBroker) -> None:
    (received, _), broker = follow(make_broker()), make_broker()
    broker.publish(make_messages(b"before"))
    with redis.paused():
        broker.publish(make_messages(b"meanwhile"))
        time.sleep(0.3)
    received.assert_received(b"before", b"meanwhile")
    assert received.missed_count == 0


def test_f14_emptying_redis_loses_nothing(redis: Redis, make_broker: MakeBroker) -> None:
    (received, _), broker = follow(make_broker()), make_broker()
    redis.forget()
    broker.publish(make_messages(b"after"))
    received.assert_received(b"after")
    assert received.missed_count == 0


def test_f18_a_listener_that_reads_too_slowly_is_disconnected_and_reports_missed_messages(
    redis: Redis, make_broker: MakeBroker
) -> None:
    with redis.client() as admin:
        admin.config_set("client-output-buffer-limit", "pubsub 65536 0 0")
        received, released = Received(), threading.Event()

        def deliver(bodies: Sequence[bytes]) -> None:
            received.deliver(bodies)
            released.wait(50)

        listen_selectively(make_broker(), received, deliver).follow(["project:7"])
        broker = make_broker()

        def is_disconnected() -> bool:
            broker.publish(make_messages(*(b"%d" % n + b"x" * 16_000 for n in range(50))))
            return not admin.client_list(_type="pubsub")

        assert_eventually(is_disconnected, "Redis has disconnected the listener")
        released.set()
        assert_recovery(broker, received)
        admin.config_set("client-output-buffer-limit", "pubsub 32mb 8mb 60")


def test_twenty_thousand_topics_are_subscribed_again_after_a_connection_breaks(
    redis: Redis, make_broker: MakeBroker
) -> None:
    received, _ = follow(make_broker(), *(f"project:{n}" for n in range(20_000)))
    redis.cut_listeners()
    for n in (0, 9_999, 19_999):
        assert_recovery(make_broker(), received, f"project:{n}")


def test_f19_the_new_master_is_found_after_a_failover(make_broker: MakeBroker) -> None:
    with running(WatchedRedis) as watched:
        (received, _), broker = follow(make_broker(watched.url)), make_broker(watched.url)
        assert try_to_publish(broker, b"before")
        received.assert_received(b"before")
        watched.fail_over()
        assert_recovery(broker, received)


def test_moved_shards_are_found_at_their_new_server(cluster: RedisCluster, make_broker: MakeBroker) -> None:
    topics = [f"project:{n}" for n in range(30)]
    (received, _), broker = follow(make_broker(cluster.url), *topics), make_broker(cluster.url)
    broker.publish([message for topic in topics for message in make_messages(topic.encode(), topic=topic)])
    received.assert_received(*(topic.encode() for topic in topics))
    cluster.move_slots(cluster.servers[0], cluster.servers[1])
    for topic in topics:
        assert_recovery(broker, received, topic)
    # Redis tells the publisher that the shards have moved, and the publisher sends to the new server.
    cluster.move_slots(cluster.servers[1], cluster.servers[0])
    for topic in topics:
        assert_recovery(broker, received, topic)


def test_while_one_server_of_a_cluster_is_down_messages_of_the_others_are_received(
    cluster: RedisCluster, make_broker: MakeBroker
) -> None:
    topics = [f"project:{n}" for n in range(30)]
    (received, _), broker = follow(make_broker(cluster.url), *topics), make_broker(cluster.url)
    broker.publish([message for topic in topics for message in make_messages(topic.encode(), topic=topic)])
    received.assert_received(*(topic.encode() for topic in topics))
    cluster.servers[2].stop(signal.SIGKILL)
    for n in range(3):
        for topic in topics:
            try_to_publish(broker, f"{topic} meanwhile {n}".encode(), topic)
    assert_eventually(lambda: any(b"meanwhile 2" in body for body in received), "messages of the others are received")
    assert not all(f"{topic} meanwhile 2".encode() in received for topic in topics)
    cluster.servers[2].start()
    for topic in topics:
        assert_recovery(broker, received, topic)


def test_a_publisher_notices_that_its_server_has_become_a_replica_and_its_name_has_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telltale.brokers.redis.sender.ROLE_EVERY_S", 0.2)
    sockets, name = [tmp_path / "first.sock", tmp_path / "second.sock"], tmp_path / "name"

    def server(number: int) -> Callable[[Path], Redis]:
        return lambda directory: Redis(directory, None, "--unixsocket", str(sockets[number]))

    with running(server(0)) as first, running(server(1)) as second, broker_factory(f"unix://{name}") as make_broker:
        name.symlink_to(sockets[0])
        broker = make_broker()
        broker.publish(make_messages(b"to the first"))
        name.unlink()
        name.symlink_to(sockets[1])
        with first.client() as admin:
            admin.replicaof("127.0.0.1", second.port)
        received = collect(make_broker())
        assert_eventually(lambda: try_to_publish(broker, b"moved") and b"moved" in received, "it publishes at the new")


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
def test_f16_a_full_redis_goes_on_carrying_messages_because_nothing_of_ours_is_stored(
    redis: Redis, make_broker: MakeBroker, policy: str
) -> None:
    with redis.client() as client:
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", "1")
        try:
            with pytest.raises(OutOfMemoryError):
                client.set("another programs key", "x" * 1_000)
            (received, _), broker = follow(make_broker()), make_broker()
            assert_works_again(broker, received)
            assert client.dbsize() == 0
        finally:
            client.config_set("maxmemory", "0")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def running_threads() -> int:
    """Without those of asyncio's own pool, which looks up names: a busy machine may let it grow, by a few."""
    return sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate())


def test_f17_connections_that_are_cut_again_and_again_are_made_again_and_leave_nothing_behind(
    redis: Redis, make_broker: MakeBroker
) -> None:
    (received, _), broker = follow(make_broker()), make_broker()
    assert_works_again(broker, received)
    threads, files = running_threads(), open_files()
    for _ in range(48):
        redis.cut_listeners()
        try_to_publish(broker, b"meanwhile")
        time.sleep(0.02)
    assert_recovery(broker, received)
    assert_eventually(lambda: open_files() <= files, "no connection is left over")
    assert running_threads() <= threads


def test_f32_a_network_that_loses_all_between_a_process_and_redis_is_noticed_and_healed(
    redis: Redis, make_broker: MakeBroker, short_timeouts: None
) -> None:
    with FaultProxy(redis.port) as line:
        url = f"redis://127.0.0.1:{line.port}/0"
        (received, _), broker = follow(make_broker(url)), make_broker(url)
        assert_works_again(broker, received)
        line.black_hole()
        assert_eventually(lambda: not try_to_publish(broker, b"lost"), "publishing fails")
        assert_failing_at_once(broker)
        assert_eventually(lambda: received.missed_count > 0, "the listener reports that messages may be lost")
        line.heal()
        assert_recovery(broker, received)


def test_a_listener_on_an_event_loop_without_a_descriptor_to_spare_connects_again(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    dup, failed = os.dup, []

    def fail_once(descriptor: int) -> int:
        if not failed:
            failed.append(descriptor)
            raise OSError(errno.EMFILE, "Too many open files")
        return dup(descriptor)

    with running_loop() as loop:
        broker = LoopBroker(RedisBroker(parse(urlsplit(redis.url))), loop)
        received, _listener = follow(broker, "project:7")
        broker.publish(make_messages(b"before"))
        received.assert_received(b"before")
        monkeypatch.setattr(os, "dup", fail_once)
        redis.cut_listeners()
        assert_eventually(lambda: failed and received.missed_count, "all topics are subscribed again")
        broker.publish(make_messages(b"after"))
        received.assert_received(b"after")
        broker.close()
