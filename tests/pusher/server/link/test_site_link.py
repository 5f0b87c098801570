"""The link between server processes: over each broker, and over one that is slow, away or full."""

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from telltale.brokers import broker
from telltale.brokers.base import Message
from telltale.core.topics import is_topic
from telltale.pusher.protocol.user_data import Member
from telltale.pusher.server.link import site_listener, site_sender
from telltale.pusher.server.link.site_link import SITE_TOPIC, channel_topic
from telltale.pusher.server.membership.changes import MemberAdded
from telltale.testing.brokers import TIMEOUT_S
from tests.pusher.server.link.site_links import Node, TestBroker, TestListener, nodes, present_broker, until
from tests.servers import Postgres, Redis, running

HELD = f"{TestBroker.__module__}.TestBroker"

Scenario = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running(Postgres) as server:
        yield server


@pytest.fixture(
    params=[
        "memory",
        "local",
        pytest.param("redis", marks=pytest.mark.service),
        pytest.param("postgres", marks=pytest.mark.service),
        pytest.param("channels", marks=pytest.mark.service),
    ]
)
def each_broker(request: pytest.FixtureRequest, settings: Any, tmp_path: Path) -> None:
    """Use each of our brokers in turn."""
    match request.param:
        case "memory":
            url = "memory://"
        case "local":
            url = f"local://{tmp_path}"
        case "channels":
            hosts = {"hosts": [request.getfixturevalue("redis").url]}
            layer = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": hosts}
            settings.CHANNEL_LAYERS = {"default": layer}
            url = "channels://"
        case name:
            url = request.getfixturevalue(name).url
    settings.TELLTALE = {**settings.TELLTALE, "BROKER": url}


@pytest.fixture
def held_broker(settings: Any) -> Iterator[None]:
    """Use a broker that the test controls."""
    TestBroker.reset()
    settings.TELLTALE = {**settings.TELLTALE, "BROKER": HELD}
    yield
    TestBroker.reset()


# Over each broker ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("each_broker")
def test_servers_are_linked_over_each_broker() -> None:
    """Events, membership, commands and kept events arrive; what is large arrives whole."""

    async def scenario() -> None:
        async with nodes(2) as [here, there]:
            await there.follow("news")
            texts = [str(number) for number in range(30)]
            large = "x" * 50_000
            here.send("news", *texts, large, "same", "same")
            here.link.send_event("1", "news", "excluded", "1.2")
            await until(lambda: len(there.events) >= 34)
            assert there.texts == [*texts, large, "same", "same", "excluded"]
            assert there.events[-1] == ("1", "news", "excluded", "1.2")
            assert here.events == []

            here.membership.join("1", "presence-room", Member(user_id="ann", user_info={"name": "Ann"}))
            await until(lambda: there.membership.members("1", "presence-room") == {"ann": {"name": "Ann"}})
            assert [change.user_id for change in there.changes if isinstance(change, MemberAdded)] == ["ann"]

            here.link.send_terminate("1", "an id with spaces")
            await until(lambda: there.terminated == [("1", "an id with spaces")])

            here.keep("cache-prices", "kept")
            await until(lambda: there.cached("cache-prices") == "kept")

    asyncio.run(scenario())


@pytest.mark.usefixtures("each_broker")
def test_a_new_server_learns_all_that_the_others_know_over_each_broker() -> None:
    async def scenario() -> None:
        async with nodes(1) as [here]:
            for number in range(500):
                here.membership.join("1", "presence-room", Member(user_id=f"user-{number}"))
            for number in range(60):
                here.keep(f"cache-{number}", f"{number}" + "x" * 1_000)
            there = Node()
            try:
                await until(lambda: there.membership.user_count("1", "presence-room") == 500)
                await until(lambda: all(there.cached(f"cache-{number}") for number in range(60)))
            finally:
                await there.link.close()
            await until(lambda: here.membership.processes == [])

    asyncio.run(scenario())


# A broker that the test controls ------------------------------------------------------------------


@pytest.mark.usefixtures("held_broker")
def test_a_subscription_waits_for_the_broker_and_the_loop_does_not() -> None:
    async def scenario() -> None:
        async with nodes(2) as [here, there]:
            await there.follow("followed")
            TestBroker.can_follow.clear()
            waiting = asyncio.ensure_future(there.follow("new"))
            await there.follow("followed")  # Nothing to wait for.
            here.send("followed", "meanwhile")
            await until(lambda: there.texts == ["meanwhile"])
            assert not waiting.done()
            TestBroker.can_follow.set()
            await waiting
            here.send("new", "after success")
            await until(lambda: there.texts == ["meanwhile", "after success"])

    asyncio.run(scenario())


@pytest.mark.usefixtures("held_broker")
def test_a_subscription_succeeds_after_a_bounded_wait_for_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_listener, "FOLLOW_WAIT_S", 0.2)

    async def scenario() -> None:
        async with nodes(1) as [here]:
            TestBroker.can_follow.clear()
            await here.follow("new")
            assert not TestBroker.can_follow.is_set()
            TestBroker.can_follow.set()

    asyncio.run(scenario())


@pytest.mark.usefixtures("held_broker")
def test_thousands_of_subscriptions_that_wait_together_are_followed_in_few_calls() -> None:
    async def scenario() -> None:
        async with nodes(1) as [here]:
            TestBroker.can_follow.clear()
            waiting = [asyncio.ensure_future(here.follow(f"channel-{number}")) for number in range(3_000)]
            await asyncio.sleep(0)
            TestBroker.can_follow.set()
            await asyncio.gather(*waiting)
            assert TestBroker.follow_calls < 10

    asyncio.run(scenario())


@pytest.mark.usefixtures("held_broker")
def test_a_channel_without_subscribers_is_forgotten_unless_they_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_listener, "FORGET_AFTER_S", 0.0)
    monkeypatch.setattr("telltale.pusher.server.link.site_link.FORGET_EVERY_S", 0.0)

    async def scenario() -> None:
        async with nodes(1) as [here]:
            for channel in ("left", "left-and-back", "left-by-one", "left-by-one"):
                await here.follow(channel)
            for channel in ("left", "left-and-back", "left-by-one"):
                here.link.unfollow("1", channel)
            await here.follow("left-and-back")
            await until(lambda: TestBroker.forgotten)
            assert TestBroker.forgotten == [channel_topic("1", "left")]
            await here.follow("left")
            for channel in ("left-and-back", "left-by-one"):
                here.link.unfollow("1", channel)
            await until(lambda: len(TestBroker.forgotten) == 3)

    asyncio.run(scenario())


@pytest.mark.usefixtures("held_broker")
def test_without_a_broker_subscriptions_succeed_and_all_is_well_once_it_is_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(site_listener, "RETRY_LISTEN_S", 0.1)
    monkeypatch.setattr(site_sender, "RETRY_FOR_S", 0.1)
    TestBroker.is_down = True

    async def scenario() -> None:
        here, there = Node(), Node()
        for node in (here, there):
            await node.follow("news")
            node.membership.join("1", f"of {node.membership.process}", None)
        here.send("news", "lost")
        await until(lambda: "Sending to other server processes failed" in caplog.text)
        TestBroker.is_down = False
        for node in (here, there):
            await until(lambda node=node: len(node.membership.channels("1")) == 2)  # type: ignore[misc]
        here.send("news", "arrives")
        await until(lambda: "arrives" in there.texts)
        await asyncio.gather(here.link.close(), there.link.close())

    asyncio.run(scenario())
    assert caplog.text.count("Receiving from other server processes failed") == 2
    assert caplog.text.count("Receiving from other server processes works again") == 2


@pytest.mark.usefixtures("held_broker")
def test_a_broker_that_hangs_delays_no_one_and_fills_no_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(site_sender, "QUEUE_BYTES", 100_000)

    async def scenario() -> None:
        async with nodes(2) as [here, there]:
            await there.follow("news")
            TestBroker.can_publish.clear()
            here.send("news", "first")
            for number in range(5_000):
                here.send("news", f"{number} " + "x" * 100)
            assert there.events == []
            TestBroker.can_publish.set()
            await until(lambda: there.texts and there.texts[-1].startswith("4999 "))
            assert len(there.texts) < 1_500

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert "messages to other server processes were dropped" in caplog.text


@pytest.mark.usefixtures("held_broker")
def test_losses_that_the_broker_reports_are_repaired() -> None:
    async def scenario() -> None:
        async with nodes(2) as [here, there]:
            TestBroker.is_losing = True
            before = TestBroker.published
            here.keep("cache-prices", "missed")
            here.membership.join("1", "missed", None)
            await until(lambda: TestBroker.published >= before + 2)
            TestBroker.is_losing = False
            present_broker().report_missed()
            await until(lambda: there.membership.channels("1") == ["missed"])
            await until(lambda: there.cached("cache-prices") == "missed")

    asyncio.run(scenario())


@pytest.mark.usefixtures("held_broker")
def test_a_member_is_told_before_its_first_event() -> None:
    async def scenario() -> None:
        async with nodes(2) as [here, there]:
            await there.follow("presence-room")
            for number in range(20):
                here.membership.join("1", "presence-room", Member(user_id=str(number)))
                here.send("presence-room", f"of {number}")
                await until(lambda number=number: there.texts[-1:] == [f"of {number}"])  # type: ignore[misc]
                assert there.membership.is_member("1", "presence-room", str(number))

    asyncio.run(scenario())


# Messages of others -------------------------------------------------------------------------------


@pytest.mark.usefixtures("held_broker")
def test_messages_of_other_forms_are_skipped_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    bodies = [
        b"t1 snapshot",
        b"P2 of a later version",
        b"P1 ",
        b"P1 process x e\n[]",
        b"P1 process 1 e\nnothing",
        b"P1 process 2 m\n{}",
        b"P1 process 3 c\n{}",
        b"P1 process 4 unknown\n{}",
        b"P1 process 5 e 7 0\n{}",
        b"P1 process 6 e\n\xff\xfe",
        b'P1 process 7 c\n{"p":"process","k":"cache","e":[[1]]}',
    ]

    async def scenario() -> None:
        async with nodes(2) as [here, there]:
            await there.follow("news")
            broker().publish([Message((SITE_TOPIC,), body) for body in bodies])
            here.send("news", "valid")
            await until(lambda: there.texts == ["valid"])
            assert there.membership.processes == [here.membership.process]

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert {record.levelname for record in warnings} == {"WARNING"}
    assert all("were skipped" in record.message for record in warnings)
    assert len(warnings) == 2  # Of each server one.


@pytest.mark.usefixtures("held_broker")
def test_a_message_that_the_broker_repeats_arrives_once() -> None:
    async def scenario() -> None:
        async with nodes(2) as [here, there]:
            await there.follow("news")
            TestBroker.copies = 3
            here.send("news", "x" * 50_000, "twice", "twice", "last")
            await until(lambda: "last" in there.texts)
            assert there.texts == ["x" * 50_000, "twice", "twice", "last"]

    asyncio.run(scenario())


def test_a_server_whose_broker_reaches_no_other_sends_nothing(settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "BROKER": "none://"}

    async def scenario() -> None:
        async with nodes(1) as [here]:
            assert here.membership.is_leader
            await here.follow("news")
            here.send("news", "x")
            assert here.link._sender._thread is None

    asyncio.run(scenario())


def test_topics_have_the_form_of_topics_and_differ_between_apps() -> None:
    topics = {channel_topic(app, channel) for app in ("1", "11") for channel in ("news", "1 news", "#server-to-user-ü")}
    assert len(topics) == 6
    assert all(map(is_topic, topics))


@pytest.mark.usefixtures("held_broker")
def test_messages_for_which_the_system_had_no_thread_are_sent_with_the_next_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    sender = site_sender.SiteSender()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        sender.send([Message((SITE_TOPIC,), b"P1 first")])
    sender.send([Message((SITE_TOPIC,), b"P1 second")])
    sender.close(TIMEOUT_S)
    assert TestBroker.published == 2


@pytest.mark.usefixtures("held_broker")
def test_a_listener_for_which_the_system_had_no_thread_begins_later(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def no_thread(thread: threading.Thread) -> None:
        if thread.name == "telltale-pusher-listener":
            raise RuntimeError("can't start new thread")
        start(thread)

    async def scenario() -> None:
        received: list[bytes] = []
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_thread)
            listener = site_listener.SiteListener(received.extend, lambda _topics: None)
            listener.follow(SITE_TOPIC, lambda: None)
        followed = asyncio.Event()
        listener.follow("project:7", followed.set)
        await asyncio.wait_for(followed.wait(), TIMEOUT_S)
        await asyncio.to_thread(broker().publish, [Message((SITE_TOPIC,), b"P1 hello")])
        await until(lambda: received)
        await asyncio.to_thread(listener.close)

    asyncio.run(scenario())


@pytest.mark.usefixtures("held_broker")
def test_topics_that_a_broker_failed_to_follow_are_followed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    follow = TestListener.follow

    def fail_once(listener: TestListener, topics: Collection[str]) -> None:
        if "project:7" in topics and not failed:
            failed.append(topics)
            raise OSError("The test says so.")
        follow(listener, topics)

    async def scenario() -> None:
        received: list[bytes] = []
        listener = site_listener.SiteListener(received.extend, lambda _topics: None)
        for topic in (SITE_TOPIC, "project:7"):
            followed = asyncio.Event()
            listener.follow(topic, followed.set)
            await asyncio.wait_for(followed.wait(), TIMEOUT_S)
        assert failed
        [broker_listener] = present_broker()._listeners
        await until(lambda: broker_listener.topics == {SITE_TOPIC, "project:7"})
        await asyncio.to_thread(listener.close)

    failed: list[Any] = []
    monkeypatch.setattr(site_listener, "RETRY_LISTEN_S", 0.1)
    monkeypatch.setattr(TestListener, "follow", fail_once)
    asyncio.run(scenario())
