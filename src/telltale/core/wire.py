"""What travels, as values and as JSON: envelopes between processes, messages between hub and browser.

Envelopes are what brokers carry; they are whole (no deltas), so that losing, repeating or reordering
them is harmless. Messages to and from clients are documented in `docs/protocol.md`. Nothing here
decides anything; `core/hub.py` and `core/connection.py` do.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from telltale.core.snapshot import Snapshot

VERSION: Final = 1
"""Of the protocol between server and client."""

INBOUND_BYTES: Final = 16_384
"""Upper bound of one message from a client."""

LEVELS: Final = ("info", "success", "warning", "error")

Json = Mapping[str, Any]


class Malformed(ValueError):
    """A message that can't be understood."""


def encode(message: object) -> str:
    """Compact JSON; NaN and infinity are refused, for browsers refuse them."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def decode(raw: str | bytes, *, limit: int = INBOUND_BYTES) -> dict[str, Any]:
    """One JSON object; raises `Malformed` for anything else, or beyond `limit` bytes or characters."""
    if len(raw) > limit:
        raise Malformed(f"A message has {len(raw):,} bytes; at most {limit:,} are read.")
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Malformed("A message is not JSON.") from error
    if not isinstance(message, dict):
        raise Malformed(f"A message is a JSON object, not {type(message).__name__}.")
    return message


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message for people, kept until shown."""

    id: str
    topic: str
    """Whom it is for: `user:<pk>` or `session:<digest>`."""
    level: str
    text: str
    url: str | None = None
    task: str | None = None
    """The id of the task whose end it tells, if any."""
    created_at: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Any other named message with data; fire and forget."""

    topic: str
    name: str
    data: Any = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """One thing that happened, and the topics whose followers may know. Exactly one content is set."""

    topics: tuple[str, ...] = ()
    snapshot: Snapshot | None = None
    notice: Notice | None = None
    event: Event | None = None
    cancel: str | None = None
    """The id of a task whose cancellation was requested: for workers, not for browsers."""

    @cached_property
    def text(self) -> str:
        """The content's JSON, encoded once however many followers there are."""
        content = self.snapshot or self.notice or self.event
        return encode(content.to_json() if content else {"cancel": self.cancel})

    def to_bytes(self) -> bytes:
        """For a broker."""
        kind = next(k for k in ("snapshot", "notice", "event", "cancel") if getattr(self, k) is not None)
        content = encode(self.cancel) if kind == "cancel" else self.text
        return f'{{"topics":{encode(self.topics)},"{kind}":{content}}}'.encode("utf-8", "replace")

    @classmethod
    def from_bytes(cls, raw: bytes, *, limit: int = 65_536) -> "Envelope":
        """The reverse of `to_bytes`; raises `Malformed` for anything else, for brokers may be shared."""
        data = decode(raw, limit=limit)
        try:
            return cls(
                topics=tuple(str(topic) for topic in data["topics"]),
                snapshot=Snapshot.from_json(data["snapshot"]) if "snapshot" in data else None,
                notice=Notice(**data["notice"]) if "notice" in data else None,
                event=Event(**data["event"]) if "event" in data else None,
                cancel=data.get("cancel"),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Malformed(f"An envelope lacks something or has too much: {error!r}.") from error
