"""The broker: whether a message that one connection publishes reaches another one, as between processes.

The message is an event for a topic that nothing follows, so pages get nothing of it.
"""

import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from telltale import brokers, conf
from telltale.brokers.base import Broker, BrokerUnavailable, Message, Reach, SelectiveListener
from telltale.brokers.urls import redact
from telltale.core.wire import Envelope, Event
from telltale.management.doctor.finding import Finding

WAIT_S: Final = 6.0
"""How long the message may take; where messages arrive at all, it takes some milliseconds."""

TRY_EVERY_S: Final = 0.25
"""How often it is published meanwhile: a broker may connect in the background, and may lose a message."""

SLOWER: Final = "Until then, pages get updates from the database: late, but right."


def examine_broker() -> Iterator[Finding]:
    """Send a message from one connection to another."""
    url = conf.settings().broker
    if url.startswith("pusher://"):
        return  # A message would be sent to the service, which bills it.
    sender, receiver = brokers.build_signed(url), brokers.build_signed(url)
    try:
        if sender.reach is Reach.PROCESS:
            yield _process_only(url)
        elif sender.reach is not Reach.NOWHERE:
            yield from _examine_connection(url, sender, receiver)
    finally:
        sender.close()
        receiver.close()


def _process_only(url: str) -> Finding:
    is_layer = url.startswith("channels://")
    return Finding(
        id="broker-process-only",
        found=f"TELLTALE['BROKER'] is {redact(url)!r}, which reaches one process only"
        + (": its layer is Channels' in-memory layer." if is_layer else "."),
        why=f"What workers and other web processes publish is not heard. {SLOWER}",
        setting='CHANNEL_LAYERS["…"]["BACKEND"] = "channels_redis.core.RedisChannelLayer".'
        if is_layer
        else "TELLTALE['BROKER'] = 'local://' on one machine; 'redis://…' or 'postgres://…' on several "
        "(docs/brokers.md).",
    )


def _examine_connection(url: str, sender: Broker, receiver: Broker) -> Iterator[Finding]:
    error = _send_and_receive(sender, receiver)
    if error is None:
        return
    if isinstance(error, BrokerUnavailable):
        yield Finding(
            id="broker-unreachable",
            found=f"The broker {redact(url)!r} can't be reached: {error}",
            why=f"Nothing is published and nothing is heard. {SLOWER}",
            setting="Start the service, or correct TELLTALE['BROKER'] (docs/brokers.md).",
        )
    elif url.startswith(("postgres://", "postgresql://")):
        yield _deaf(url, sender)
    else:
        yield Finding(
            id="broker-deaf",
            found=f"A message that one connection to {redact(url)!r} published did not reach another one within "
            f"{WAIT_S:g} s.",
            why=f"Web processes don't hear what workers publish. {SLOWER}",
            setting="Name one and the same service in TELLTALE['BROKER'] of all processes, and allow its user to "
            "publish and to subscribe (docs/brokers.md).",
        )


class NotReceived(Exception):
    """The message was published and did not arrive."""


def _send_and_receive(sender: Broker, receiver: Broker) -> Exception | None:
    """Return None if the message arrives; else the broker's error, or `NotReceived`."""
    topic = f"doctor:{secrets.token_hex(8)}"
    body = Envelope(topics=(topic,), event=Event(topic=topic, name="doctor")).to_bytes()
    has_arrived = threading.Event()

    def deliver(messages: Sequence[bytes]) -> None:
        if any(topic.encode() in message for message in messages):
            has_arrived.set()

    error: Exception = NotReceived()
    tries = int(WAIT_S / TRY_EVERY_S)
    listener = None
    try:
        for _ in range(tries):
            try:
                if listener is None:
                    listener = receiver.listen(deliver, lambda _topics: None)
                    if isinstance(listener, SelectiveListener):
                        listener.follow([topic])
                sender.publish([Message((topic,), body)])
                error = NotReceived()
            except BrokerUnavailable as unavailable:
                error = unavailable
            if has_arrived.wait(TRY_EVERY_S):
                return None
        return error
    finally:
        if listener is not None:
            with suppress(BrokerUnavailable):
                listener.close()


def _deaf(url: str, broker: Any) -> Finding:
    """PostgreSQL accepts LISTEN, but nothing arrives; or another connection works."""
    from telltale.brokers.postgres.address import EXAMPLE

    return Finding(
        id="broker-deaf-pooler",
        found=f"PostgreSQL at {redact(url)!r} accepts LISTEN, but a notification of another connection did not arrive "
        f"within {WAIT_S:g} s, as behind PgBouncer in transaction mode.",
        why=f"Web processes don't hear what workers publish. {SLOWER}",
        setting=f"Name the PostgreSQL server itself, not the pooler: TELLTALE['BROKER'] = '{EXAMPLE}'.",
    )
