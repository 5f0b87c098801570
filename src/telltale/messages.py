"""TaskText: people (`notify`), topics (`publish`), and whoever follows a task (`announce`).

Nothing is told before it is true: inside a transaction, telling waits for the commit. A broker that is out
of order is no caller's trouble: it is logged once, and followers find everything in the store. Called from
anywhere, with no request; knows brokers by their contract only.
"""

import logging
import time
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from django.db import connections

from telltale import conf, store
from telltale.brokers import broker
from telltale.brokers.base import Message
from telltale.core.outage import Outage
from telltale.core.snapshot import SHORT_BYTES
from telltale.core.topics import parse
from telltale.core.wire import LEVELS, Envelope, Event, Notice, encode
from telltale.owners import Owner

logger = logging.getLogger(__name__)

EVENT_BYTES: Final = 8_192
"""Upper bound of an event's data, encoded."""

_outage = Outage(logger, "Handing over to the broker", "Pages are told later, from the database.")


def notify(to: Any, text: str, *, level: str = "info", url: str | None = None) -> Notice:
    """Tell a person something; kept until one of their pages has shown it.

    `to`: a user, a request, or an `Owner`. `level`: info, success, warning or error. `url`: where the
    message leads. Raises what the database raises: a message that can't be kept is not told.
    """
    if level not in LEVELS:
        raise ValueError(f"level={level!r} is none of {', '.join(LEVELS)}.")
    topic = Owner.of(to, create_session=True).topic
    if topic is None:
        raise ValueError(f"notify({to!r}, …) is for nobody: give a saved user, or a request that has a session.")
    notice = store.add_notice(topic, str(text), level, url)
    announce([Envelope(topics=(topic,), notice=notice)])
    return notice


def publish(topic: str, name: str, data: Any = None) -> None:
    """Tell whoever follows `topic` just now: fire and forget. `data` is plain JSON of at most 8 KiB."""
    parse(topic)
    if not 0 < len(name.encode("utf-8", "replace")) <= SHORT_BYTES:
        raise ValueError(f"An event's name has 1 to {SHORT_BYTES} bytes; {name[:SHORT_BYTES]!r} has not.")
    try:
        size = len(encode(data).encode("utf-8", "replace"))
    except (TypeError, ValueError) as error:
        raise TypeError(f"The data of {name!r} is {data!r:.80}, which JSON can't hold: {error}.") from error
    if size > EVENT_BYTES:
        raise ValueError(
            f"The data of {name!r} has {size:,} bytes; at most {EVENT_BYTES:,} travel: send a link or an id instead."
        )
    announce([Envelope(topics=(topic,), event=Event(topic=topic, name=name, data=data))])


def announce(envelopes: Iterable[Envelope]) -> None:
    """Hand these to the broker: now, or after the present transaction's commit. Never raises."""
    told = list(envelopes)
    if not told:
        return
    connection = connections[conf.settings().database]
    if connection.in_atomic_block:
        connection.on_commit(partial(send_to_broker, told), robust=True)
    else:
        send_to_broker(told)


def send_to_broker(envelopes: Iterable[Envelope]) -> bool:
    """Hand these to the broker now; False if it is out of order, which is logged when it begins and ends."""
    try:
        broker().publish([Message(envelope.topics, envelope.to_bytes()) for envelope in envelopes])
    except Exception as error:
        # Brokers are anyone's code, and this runs inside people's tasks: whatever it is, they go on.
        _outage.begin(error, now=time.monotonic())
        return False
    _outage.end(now=time.monotonic())
    return True
