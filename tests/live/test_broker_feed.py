"""What web processes take from the broker, and what they leave to others."""

import asyncio
import logging
from collections.abc import Collection
from types import SimpleNamespace

import pytest

from telltale.brokers import broker
from telltale.brokers.base import Message, Reach
from telltale.brokers.delivery import LossCounter
from telltale.core.wire import Envelope, Event
from telltale.live import broker_feed, incoming
from telltale.live.broker_feed import BrokerFeed
from telltale.live.driver import close_driver, driver
from telltale.testing.brokers import TIMEOUT_S

TOPIC = "project:7"


def test_messages_of_the_pusher_server_are_skipped_silently(caplog: pytest.LogCaptureFixture) -> None:
    envelope = Envelope(topics=(TOPIC,), event=Event(topic=TOPIC, name="x", data=1))
    with caplog.at_level(logging.DEBUG):
        assert asyncio.run(received(b"P1 0a1b 1 e\n{}", envelope.to_bytes())) == [envelope]
    assert "malformed" not in caplog.text


def test_other_messages_that_are_no_envelopes_are_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = LossCounter("%d malformed messages of the broker were skipped.")  # of this test alone
    monkeypatch.setattr(incoming, "unusable", counter)
    envelope = Envelope(topics=(TOPIC,), event=Event(topic=TOPIC, name="x", data=1))
    assert asyncio.run(received(b"X", envelope.to_bytes())) == [envelope]
    assert "1 malformed messages of the broker were skipped" in caplog.text


async def received(*bodies: bytes) -> list[Envelope]:
    """Publish these bodies in one call, and return the first envelopes that arrive."""
    arrived: asyncio.Future[list[Envelope]] = asyncio.get_running_loop().create_future()
    feed = BrokerFeed(asyncio.get_running_loop(), arrived.set_result, list, lambda _topics: None)
    await asyncio.to_thread(feed.subscribe, [TOPIC])
    try:
        broker().publish([Message((TOPIC,), body) for body in bodies])
        return await asyncio.wait_for(arrived, TIMEOUT_S)
    finally:
        await asyncio.to_thread(feed.close)


class FailingListener:
    """A selective listener of anyone's broker, whose calls fail as long as the test says."""

    def __init__(self) -> None:
        self.is_failing = False
        self.followed: set[str] = set()

    def follow(self, topics: Collection[str]) -> None:
        self._fail()
        self.followed |= set(topics)

    def forget(self, topics: Collection[str]) -> None:
        self._fail()
        self.followed -= set(topics)

    def close(self) -> None:
        """Nothing to close."""

    def _fail(self) -> None:
        if self.is_failing:
            raise OSError("The test says so.")


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> FailingListener:
    listener = FailingListener()
    source = SimpleNamespace(reach=Reach.SITE, listen=lambda _deliver, _missed: listener)
    monkeypatch.setattr(broker_feed, "broker", lambda: source)
    return listener


def test_topics_that_a_broker_failed_to_follow_are_followed_by_the_next_read(
    listener: FailingListener, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        feed = BrokerFeed(asyncio.get_running_loop(), list, list, lambda _topics: None)
        listener.is_failing = True
        feed.subscribe([TOPIC])
        listener.is_failing = False
        feed.subscribe([TOPIC])

    asyncio.run(scenario())
    assert TOPIC in listener.followed
    assert "Listening to the broker works again" in caplog.text


def test_a_broker_that_fails_to_forget_does_not_end_the_regular_reads(listener: FailingListener) -> None:
    async def scenario() -> None:
        feed = BrokerFeed(asyncio.get_running_loop(), list, list, lambda _topics: None)
        feed.subscribe([TOPIC])
        listener.is_failing = True
        feed.unsubscribe_unless(lambda _topic: False)

    asyncio.run(scenario())


@pytest.mark.django_db(transaction=True)
def test_a_client_that_fails_keeps_no_snapshots_from_those_that_waited_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_envelopes: list[Envelope]) -> None:
        raise ValueError("The test says so.")

    async def scenario() -> None:
        live_driver, read = driver(), asyncio.Event()
        for on_read in (fail, lambda _envelopes: read.set()):
            live_driver.read_for(frozenset({TOPIC}), on_read, lambda: False)
        await asyncio.wait_for(read.wait(), TIMEOUT_S)
        await close_driver()

    asyncio.run(scenario())
    assert "could not be handed over" in caplog.text
