"""What happens to Redis, over real servers: it is cut, killed, paused, emptied, replaced; and what follows from it.

Each test ends alike: nothing but `BrokerUnavailable` was raised, what is published from then on is heard, and
whoever may have lost something was told so.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import cast

import pytest

from telltale.brokers import build
from telltale.brokers.base import Broker, BrokerUnavailable, Selective
from telltale.brokers.redis.broker import RedisBroker
from telltale.testing.brokers import Heard, choose, eventually, said
from tests.brokers.on_loop import OnItsLoop, running_loop
from tests.servers import Redis, RedisCluster, WatchedRedis, running

pytestmark = pytest.mark.service

Make = Callable[..., Broker]


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    """One for all; whoever stops it starts it again."""
    with running(Redis) as server:
        yield server


@pytest.fixture(params=["thread", "loop"])
def make(redis: Redis, request: pytest.FixtureRequest) -> Iterator[Make]:
    """`make()`: the broker of another process; `make(url)`: of another Redis. Heard by a thread, or by a loop."""
    with ExitStack() as stack:
        loop = stack.enter_context(running_loop()) if request.param == "loop" else None

        def make(url: str = redis.url) -> Broker:
            made = build(url)
            stack.callback(made.close)
            return made if loop is None else OnItsLoop(cast(RedisBroker, made), loop)

        yield make


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed soon."""
    monkeypatch.setattr("telltale.brokers.redis.subscription.QUIET_S", 0.5)
    monkeypatch.setattr("telltale.brokers.redis.subscription.ANSWER_S", 0.5)


def following(broker: Broker, *topics: str) -> tuple[Heard, Selective]:
    heard = Heard()
    listener = choose(broker, heard)
    listener.follow(topics or ["project:7"])
    return heard, listener


def try_to_publish(broker: Broker, body: bytes, topic: str = "project:7") -> bool:
    """Whether it was handed over; nothing but `BrokerUnavailable` may be raised."""
    try:
        broker.publish(said(body, topic=topic))
    except BrokerUnavailable:
        return False
    return True


def converges(broker: Broker, heard: Heard, topic: str = "project:7", *, is_told: bool = True) -> None:
    """What is published from now on is heard in the end, and what was lost is told."""
    if is_told:
        eventually(lambda: heard.missed > 0, "it is told that something may have been lost")
    tries = iter(range(1_000_000))

    def comes_through() -> bool:
        body = f"{topic} again {next(tries)}".encode()
        if not try_to_publish(broker, body, topic):
            return False
        patience = time.monotonic() + 1.0
        while body not in heard and time.monotonic() < patience:
            time.sleep(0.005)
        return body in heard

    eventually(comes_through, f"what is published to {topic} is heard")


def test_a_listener_that_is_cut_off_in_the_middle_comes_back(redis: Redis, make: Make) -> None:
    (heard, _), broker = following(make()), make()
    for n in range(300):
        broker.publish(said(f"{n}".encode()))
        if n in {100, 200}:
            redis.cut_listeners()
    converges(broker, heard)


def test_a_publisher_that_is_cut_off_sends_again_what_was_under_way(redis: Redis, make: Make) -> None:
    (heard, _), broker = following(make()), make()
    with redis.client() as admin:
        for n in range(300):
            broker.publish(said(f"{n}".encode()))
            if n % 50 == 25:
                admin.client_kill_filter(_type="normal", skipme=True)
    heard.until(*(f"{n}".encode() for n in range(300)))
    assert heard.missed == 0


def test_while_redis_is_away_whoever_listens_is_told_again_and_again(redis: Redis, make: Make) -> None:
    (heard, _), broker = following(make()), make()
    redis.stop(signal.SIGKILL)
    eventually(lambda: heard.missed >= 3, "it is told to look for itself")
    redis.start()
    converges(broker, heard)


def test_a_killed_redis_costs_time_and_nothing_else(redis: Redis, make: Make) -> None:
    (heard, listener), broker = following(make()), make()
    broker.publish(said(b"before"))
    heard.until(b"before")
    redis.stop(signal.SIGKILL)
    eventually(lambda: not try_to_publish(broker, b"meanwhile"), "it is known to be gone")
    began = time.monotonic()
    outcomes = {try_to_publish(broker, b"meanwhile") for _ in range(200)}
    listener.follow(["project:9"])
    assert outcomes == {False}
    assert time.monotonic() - began < 5
    redis.start()
    converges(broker, heard)
    converges(broker, heard, "project:9")


def test_a_paused_redis_blocks_nobody_and_its_silence_is_noticed(redis: Redis, make: Make, quick: None) -> None:
    (heard, _), broker = following(make()), make()
    broker.publish(said(b"before"))
    heard.until(b"before")
    took_s: list[float] = []
    with redis.paused():
        began = time.monotonic()
        outcomes = []
        while time.monotonic() < began + 4:
            at = time.monotonic()
            outcomes.append(try_to_publish(broker, b"x" * 1_000))
            took_s.append(time.monotonic() - at)
            time.sleep(0.02)
    assert outcomes[-1] is False
    # It waits once, for half a second; a busy machine may have held it up besides.
    assert sum(took_s) < 2.5
    converges(broker, heard)


def test_a_pause_while_nothing_is_sent_is_noticed_too(redis: Redis, make: Make, quick: None) -> None:
    heard, _ = following(make())
    with redis.paused():
        time.sleep(2.5)
    converges(make(), heard)


def test_a_short_pause_is_sat_out(redis: Redis, make: Make) -> None:
    (heard, _), broker = following(make()), make()
    broker.publish(said(b"before"))
    with redis.paused():
        broker.publish(said(b"meanwhile"))
        time.sleep(0.3)
    heard.until(b"before", b"meanwhile")
    assert heard.missed == 0


def test_an_emptied_redis_forgets_nothing_of_ours(redis: Redis, make: Make) -> None:
    (heard, _), broker = following(make()), make()
    redis.forget()
    broker.publish(said(b"after"))
    heard.until(b"after")
    assert heard.missed == 0


def test_whoever_reads_too_slowly_is_cut_off_and_says_so_once_back(redis: Redis, make: Make) -> None:
    with redis.client() as admin:
        admin.config_set("client-output-buffer-limit", "pubsub 65536 0 0")
        heard, goes_on = Heard(), threading.Event()

        def deliver(messages: Sequence[bytes]) -> None:
            heard.deliver(messages)
            goes_on.wait(20)

        choose(make(), heard, deliver).follow(["project:7"])
        broker = make()

        def is_cut_off() -> bool:
            broker.publish(said(*(b"%d" % n + b"x" * 16_000 for n in range(50))))
            return not admin.client_list(_type="pubsub")

        eventually(is_cut_off, "Redis has had enough")
        goes_on.set()
        converges(broker, heard)
        admin.config_set("client-output-buffer-limit", "pubsub 32mb 8mb 60")


def test_twenty_thousand_topics_are_followed_again_after_a_cut(redis: Redis, make: Make) -> None:
    heard, _ = following(make(), *(f"project:{n}" for n in range(20_000)))
    redis.cut_listeners()
    for n in (0, 9_999, 19_999):
        converges(make(), heard, f"project:{n}")


def test_another_master_is_found_after_a_failover(make: Make) -> None:
    with running(WatchedRedis) as watched:
        (heard, _), broker = following(make(watched.url)), make(watched.url)
        assert try_to_publish(broker, b"before")
        heard.until(b"before")
        watched.fail_over()
        converges(broker, heard)


def test_shards_are_found_where_they_have_moved_to(cluster: RedisCluster, make: Make) -> None:
    topics = [f"project:{n}" for n in range(30)]
    (heard, _), broker = following(make(cluster.url), *topics), make(cluster.url)
    broker.publish([message for topic in topics for message in said(topic.encode(), topic=topic)])
    heard.until(*(topic.encode() for topic in topics))
    cluster.move_slots(cluster.servers[0], cluster.servers[1])
    for topic in topics:
        converges(broker, heard, topic)
    # The one who only publishes is told by Redis, and sends it again to whom it belongs.
    cluster.move_slots(cluster.servers[1], cluster.servers[0])
    for topic in topics:
        converges(broker, heard, topic)


def test_a_cluster_that_loses_a_server_is_heard_of_the_others_meanwhile(cluster: RedisCluster, make: Make) -> None:
    topics = [f"project:{n}" for n in range(30)]
    (heard, _), broker = following(make(cluster.url), *topics), make(cluster.url)
    broker.publish([message for topic in topics for message in said(topic.encode(), topic=topic)])
    heard.until(*(topic.encode() for topic in topics))
    cluster.servers[2].stop(signal.SIGKILL)
    for n in range(3):
        for topic in topics:
            try_to_publish(broker, f"{topic} meanwhile {n}".encode(), topic)
    eventually(lambda: any(b"meanwhile 2" in body for body in heard), "the others are heard")
    assert not all(f"{topic} meanwhile 2".encode() in heard for topic in topics)
    cluster.servers[2].start()
    for topic in topics:
        converges(broker, heard, topic)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with running(RedisCluster) as cluster:
        yield cluster
