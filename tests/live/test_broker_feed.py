"""What web processes take from the broker, and what they leave to others."""

import asyncio
import logging

import pytest

from telltale.brokers import broker
from telltale.brokers.base import Message
from telltale.brokers.delivery import LossCounter
from telltale.core.wire import Envelope, Event
from telltale.live import incoming
from telltale.live.broker_feed import BrokerFeed
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
    feed = BrokerFeed(asyncio.get_running_loop(), arrived.set_result, lambda _topics: None)
    await asyncio.to_thread(feed.subscribe, [TOPIC])
    try:
        broker().publish([Message((TOPIC,), body) for body in bodies])
        return await asyncio.wait_for(arrived, TIMEOUT_S)
    finally:
        await asyncio.to_thread(feed.close)
