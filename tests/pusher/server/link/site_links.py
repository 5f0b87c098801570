"""Links of several servers in one process, their hosts, and a broker that a test can hold, break and repair."""

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

from telltale.brokers import broker
from telltale.brokers.base import BrokerUnavailable, Deliver, Message, Missed, Reach
from telltale.pusher.server.link.last_events import LastEvents
from telltale.pusher.server.link.site_link import SITE_TOPIC, SiteLink, is_alone
from telltale.pusher.server.membership.changes import Change
from telltale.pusher.server.membership.membership import Membership

PATIENCE_S = 30.0


class Node:
    """A server with nothing but its membership, its last events and its link. It notes what the link tells it."""

    def __init__(self) -> None:
        self.membership = Membership(secrets.token_hex(8), is_alone=is_alone())
        self.last_events = LastEvents(self.membership.process)
        self.texts: list[str] = []
        self.events: list[tuple[str, str, str, str | None]] = []
        self.terminated: list[tuple[str, str]] = []
        self.changes: list[Change] = []
        self.link = SiteLink(self, self.membership, self.last_events)

    def receive_event(self, app_id: str, channel: str, text: str, socket_id: str | None) -> None:
        self.events.append((app_id, channel, text, socket_id))
        self.texts.append(text)

    def receive_changes(self, changes: Sequence[Change]) -> None:
        self.changes += changes

    def receive_terminate(self, app_id: str, user_id: str) -> None:
        self.terminated.append((app_id, user_id))

    async def follow(self, channel: str, app_id: str = "1") -> None:
        """Follow a channel, and wait until that works."""
        followed = asyncio.Event()
        self.link.follow(app_id, channel, followed.set)
        await asyncio.wait_for(followed.wait(), PATIENCE_S)

    def send(self, channel: str, *texts: str) -> None:
        for text in texts:
            self.link.send_event("1", channel, text, None)

    def keep(self, channel: str, text: str) -> None:
        """Publish an event of a cache channel."""
        kept = self.last_events.keep("1", channel, text, cache_s=1_800.0, now=time.monotonic())
        self.link.send_event("1", channel, text, None, kept)

    def cached(self, channel: str) -> str | None:
        event = self.last_events.find("1", channel, time.monotonic())
        return None if event is None else event.text


@asynccontextmanager
async def nodes(number: int) -> AsyncIterator[list[Node]]:
    """Yield servers that know each other; they are closed at the end."""
    made = [Node() for _ in range(number)]
    try:
        await until(lambda: all(len(node.membership.processes) == number - 1 for node in made))
        yield made
    finally:
        await asyncio.gather(*(node.link.close() for node in made))


async def until(condition: Callable[[], object]) -> None:
    """Wait until this is true; fail after `PATIENCE_S`."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 (conditions are of any kind)
            await asyncio.sleep(0.01)


class TestBroker:
    """A broker within this process, with selective listeners. It says that it reaches a site."""

    __test__ = False
    reach = Reach.SITE
    can_follow = threading.Event()
    can_publish = threading.Event()
    is_down: ClassVar[bool] = False
    is_losing: ClassVar[bool] = False
    copies: ClassVar[int] = 1
    """How often each message is delivered."""
    published: ClassVar[int] = 0
    follow_calls: ClassVar[int] = 0
    forgotten: ClassVar[list[str]] = []

    def __init__(self) -> None:
        self._listeners: list[TestListener] = []

    @classmethod
    def reset(cls) -> None:
        cls.is_down = cls.is_losing = False
        cls.copies = 1
        cls.published = cls.follow_calls = 0
        cls.forgotten = []
        cls.can_follow.set()
        cls.can_publish.set()

    def publish(self, messages: Sequence[Message]) -> None:
        self.can_publish.wait(PATIENCE_S)
        if self.is_down:
            raise BrokerUnavailable("The test says so.")
        TestBroker.published += len(messages)
        for listener in [] if self.is_losing else list(self._listeners):
            bodies = [message.body for message in messages if listener.topics & set(message.topics)]
            listener.put(bodies * self.copies)

    def listen(self, deliver: Deliver, missed: Missed) -> "TestListener":
        if self.is_down:
            raise BrokerUnavailable("The test says so.")
        listener = TestListener(deliver, missed)
        self._listeners.append(listener)
        return listener

    def report_missed(self) -> None:
        for listener in self._listeners:
            listener.missed(None)

    def close(self) -> None:
        self.can_publish.set()
        self.can_follow.set()


class TestListener:
    """Delivers in the publisher's thread."""

    __test__ = False

    def __init__(self, deliver: Deliver, missed: Missed) -> None:
        self.topics: set[str] = set()
        self.put, self.missed = deliver, missed

    def follow(self, topics: Collection[str]) -> None:
        TestBroker.follow_calls += 1
        if SITE_TOPIC not in topics:
            TestBroker.can_follow.wait(PATIENCE_S)
        self.topics |= set(topics)

    def forget(self, topics: Collection[str]) -> None:
        self.topics -= set(topics)
        TestBroker.forgotten += topics

    def close(self) -> None:
        self.topics = set()


def present_broker() -> TestBroker:
    """Return this process's broker, which is a `TestBroker`."""
    present = broker()
    assert isinstance(present, TestBroker)
    return present
