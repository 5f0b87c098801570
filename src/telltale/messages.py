"""Messages to people (`notify`), to topics (`publish`) and to the followers of a task (`announce`).

Within a transaction, messages are sent after the commit. A broker that fails raises nothing here: the failure is logged
once, and followers get everything from the store. These functions need no request and can be called anywhere.
"""

import logging
import time
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import connections

from telltale import conf, store
from telltale.brokers import broker
from telltale.brokers.base import Message
from telltale.brokers.counts import counts
from telltale.core.outage import Outage
from telltale.core.snapshot import SHORT_BYTES, TEXT_BYTES, bounded
from telltale.core.topics import parse_open
from telltale.core.wire import LEVELS, Envelope, Event, Kind, Notice, encode
from telltale.owners import Owner

logger = logging.getLogger(__name__)

EVENT_BYTES: Final = 8_192
"""Upper bound of an event's data, in bytes of JSON."""

_outage = Outage(logger, "Publishing to the broker", "Pages get updates later, from the database.")


_notice_listeners: list[Callable[[set[str]], None]] = []


def on_notice(listener: Callable[[set[str]], None]) -> None:
    """Call `listener` with the topics of notices that this process has stored, once they are committed.

    It is called before they are published, in the same thread: it must not raise and not block.
    """
    _notice_listeners.append(listener)


def notify(to: Any, text: str, *, level: str = "info", url: str | None = None) -> Notice:
    """Send a person a message, which is kept until one of their pages has shown it.

    `to`: a user, a request or an `Owner`. `level`: info, success, warning or error. `url`: a page to link to, in at
    most 2,048 bytes. Raises the database's errors: a message that can't be stored is not sent.
    """
    if level not in LEVELS:
        raise ValueError(f"notify(level={level!r}) is not a level: use one of {', '.join(LEVELS)}.")
    if url is not None and bounded(url) != url:
        # A link that is cut off leads nowhere.
        raise ValueError(
            f"notify(url={url[:80]!r}…) has {len(url.encode('utf-8', 'replace')):,} bytes or control characters: a URL "
            f"has at most {TEXT_BYTES:,} bytes and no control characters. Link to a page that leads on."
        )
    topic = store.owner_now(Owner.of(to, create_session=True)).topic
    if topic is None:
        raise ValueError(f"notify({to!r}, …) has no recipient: pass a saved user, or a request with a session.")
    notice = store.add_notice(topic, str(text), level, url)
    announce([Envelope(topics=(topic,), notice=notice)])
    return notice


async def anotify(to: Any, text: str, *, level: str = "info", url: str | None = None) -> Notice:
    """As `notify`, for coroutines."""
    return await sync_to_async(notify)(to, text, level=level, url=url)


def publish(topic: str, name: str, data: Any = None) -> None:
    """Send an event to the current followers of `topic`; it is not stored. `data`: plain JSON of at most 8 KiB."""
    announce([event_envelope(topic, name, data)])


async def apublish(topic: str, name: str, data: Any = None) -> None:
    """As `publish`, for coroutines: a broker may block for a moment."""
    await sync_to_async(publish)(topic, name, data)


def event_envelope(topic: str, name: str, data: Any) -> Envelope:
    """Return an event for the followers of `topic`; raises `TypeError` or `ValueError` for what can't be sent."""
    parse_open(topic)
    if not 0 < len(name.encode("utf-8", "replace")) <= SHORT_BYTES:
        raise ValueError(f"The event name {name[:SHORT_BYTES]!r} is empty or too long: use 1 to {SHORT_BYTES} bytes.")
    try:
        size = len(encode(data).encode("utf-8", "replace"))
    except (TypeError, ValueError) as error:
        raise TypeError(f"The data of {name!r} is {data!r:.80}, which is not plain JSON: {error}.") from error
    if size > EVENT_BYTES:
        raise ValueError(
            f"The data of {name!r} has {size:,} bytes; the limit is {EVENT_BYTES:,}: send a link or an id instead."
        )
    return Envelope(topics=(topic,), event=Event(topic=topic, name=name, data=data))


def announce(envelopes: Iterable[Envelope]) -> None:
    """Send these to the broker: at once, or after the commit of the current transaction. Never raises."""
    envelopes = list(envelopes)
    if not envelopes:
        return
    connection = connections[conf.settings().database]
    if connection.in_atomic_block:
        # In this caller's context, which a broker may read; it may have changed until the commit.
        connection.on_commit(partial(copy_context().run, send_to_broker, envelopes), robust=True)
    else:
        send_to_broker(envelopes)


def send_to_broker(envelopes: Iterable[Envelope]) -> bool:
    """Send these to the broker at once; False if it fails. The log says when failures begin and end."""
    envelopes = list(envelopes)
    if topics := {topic for envelope in envelopes if envelope.kind is Kind.NOTICE for topic in envelope.topics}:
        for listener in _notice_listeners:
            listener(topics)
    try:
        messages = [Message(envelope.topics, envelope.to_bytes()) for envelope in envelopes]
        broker().publish(messages)
    except Exception as error:
        # Brokers may be third-party code, and this runs inside a site's tasks: no error may stop them.
        counts["failed"] += 1
        _outage.begin(error, now=time.monotonic())
        return False
    counts["published"] += len(messages)
    _outage.end(now=time.monotonic())
    return True
