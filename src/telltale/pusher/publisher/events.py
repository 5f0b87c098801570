"""The events that pages receive by a Pusher service, made of Telltale's envelopes.

Snapshots and notices of one topic go together, as far as they fit: the event `telltale.update` on the topic's channel,
whose data is the message `update` of docs/protocol.md as JSON (`n` is 0, because nothing is acknowledged; `events` is
empty; `now` is by the clock of the machine that publishes):

    {"type": "update", "n": 0, "now": 1790000000.1, "tasks": [SNAPSHOT, …], "notices": [NOTICE, …], "events": []}

A site's own event, `telltale.publish("project:7", "build.finished", {"ok": True})`, keeps its name, so that any client
of the service hears it: the event `build.finished` on the channel `private-project-7`, whose data is `{"ok": true}`.

The client orders snapshots as with every other transport: the newest wins.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from telltale.core.protocol import update
from telltale.core.wire import Envelope, Event, Kind, encode
from telltale.pusher.protocol.channel_names import is_encrypted

UPDATE: Final = "telltale.update"
"""The name of the event that carries snapshots and notices."""

DATA_BYTES: Final = 10_000
"""Upper bound of an event's data. The hosted service takes 10 kB; some compatible servers count 10,000 bytes."""

ENCRYPTED_BYTES: Final = 7_400
"""Upper bound of an event's data on an encrypted channel: encryption and base64 make it a third longer."""

NAME_LENGTH: Final = 200
"""Characters of an event's name."""

UPDATE_BYTES: Final = DATA_BYTES - len(update(0, 9_999_999_999.0))
"""The room for snapshots and notices in an update."""

_RESERVED: Final = ("pusher:", "pusher_internal:", "client-", UPDATE)


class PusherEvent(NamedTuple):
    """One event on one channel."""

    channel: str
    name: str
    data: str
    """JSON text."""
    socket_id: str | None = None
    """The connection that does not receive it."""


class UnsendableEvent(ValueError):
    """An event that no Pusher service would take; the text names the rule and the mend."""


def own_event(channel: str, event: Event, socket_id: str | None) -> PusherEvent:
    """Return a site's own event; raises `UnsendableEvent`."""
    if len(event.name) > NAME_LENGTH or event.name.startswith(_RESERVED):
        raise UnsendableEvent(
            f"The event {event.name[:NAME_LENGTH]!r} for {event.topic!r} can't be sent by Pusher: use a name of at "
            f"most {NAME_LENGTH} characters that begins with none of {', '.join(_RESERVED)}."
        )
    data, limit = encode(event.data), ENCRYPTED_BYTES if is_encrypted(channel) else DATA_BYTES
    size = len(data.encode("utf-8", "replace"))
    if size > limit:
        raise UnsendableEvent(
            f"The data of the event {event.name!r} for {event.topic!r} has {size:,} bytes, and at most {limit:,} are "
            "allowed there: send a link or an id instead."
        )
    return PusherEvent(channel, event.name, data, socket_id)


def update_size(envelope: Envelope) -> int:
    """Return how many bytes a snapshot or notice adds to an update, with the comma between two."""
    return len(envelope.text.encode("utf-8", "replace")) + 1


def update_event(channel: str, envelopes: Iterable[Envelope], *, now: float) -> PusherEvent:
    """Return the event that carries these snapshots and notices."""
    texts: dict[Kind, list[str]] = {Kind.SNAPSHOT: [], Kind.NOTICE: []}
    for envelope in envelopes:
        texts[envelope.kind].append(envelope.text)
    return PusherEvent(channel, UPDATE, update(0, now, tasks=texts[Kind.SNAPSHOT], notices=texts[Kind.NOTICE]))
