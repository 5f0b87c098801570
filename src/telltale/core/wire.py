"""What travels, as values and as JSON: envelopes between processes, messages between hub and browser.

Envelopes are what brokers carry; they are whole (no deltas), so that losing, repeating or reordering
them is harmless. A web process sorts them by their head alone and hands their text on as it came: what a
worker has encoded once, nobody decodes and encodes again. Messages to and from clients are documented in
`docs/protocol.md`. Nothing here decides anything; `core/hub.py` and `core/connection.py` do.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from telltale.core.snapshot import Order, Snapshot
from telltale.core.topics import is_topic

VERSION: Final = 1
"""Of the protocol between server and client."""

INBOUND_BYTES: Final = 16_384
"""Upper bound of one message from a client."""

LEVELS: Final = ("info", "success", "warning", "error")

Json = Mapping[str, Any]

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Malformed(ValueError):
    """A message that can't be understood."""


def encode(message: object) -> str:
    """Compact JSON; NaN and infinity are refused, for browsers refuse them."""
    return _ENCODER.encode(message)


def update(
    n: int, now: float, *, tasks: Iterable[str] = (), notices: Iterable[str] = (), events: Iterable[str] = ()
) -> str:
    """The message number `n` to a client, of texts that are encoded already."""
    return (
        f'{{"type":"update","n":{n},"now":{now:.3f},'
        f'"tasks":[{",".join(tasks)}],"notices":[{",".join(notices)}],"events":[{",".join(events)}]}}'
    )


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


class Kind(StrEnum):
    """What an envelope holds, as its head says it."""

    SNAPSHOT = "snapshot"
    NOTICE = "notice"
    EVENT = "event"
    CANCEL = "cancel"


Content = Snapshot | Notice | Event | str

_MARK: Final = b"t1"
"""Begins every envelope: processes of another version, during a deployment, do not misread each other."""

_NO_ORDER: Final[Order] = (0, False, 0)


class Envelope:
    """One thing that happened, and the topics whose followers may know: exactly one of the four contents.

    Immutable. Read from bytes, its text is known at once and its content is decoded when first asked for.
    """

    __slots__ = ("_content", "_text", "about", "kind", "order", "topics")

    def __init__(
        self,
        *,
        topics: Iterable[str] = (),
        snapshot: Snapshot | None = None,
        notice: Notice | None = None,
        event: Event | None = None,
        cancel: str | None = None,
    ) -> None:
        """`cancel`: the id of a task whose cancellation was requested: for workers, not for browsers."""
        self.topics = tuple(topics)
        self.about = ""
        """The id of the task or notice that it is about; empty for an event."""
        self.order = _NO_ORDER
        """Of a snapshot: what decides which of two of one task is the newer."""
        self._content: Content | None
        self._text: str | None = None
        if snapshot is not None:
            self.kind, self._content = Kind.SNAPSHOT, snapshot
            self.about, self.order = snapshot.id, snapshot.order
        elif notice is not None:
            self.kind, self._content, self.about = Kind.NOTICE, notice, notice.id
        elif event is not None:
            self.kind, self._content = Kind.EVENT, event
        elif cancel is not None:
            self.kind, self._content, self.about = Kind.CANCEL, cancel, cancel
        else:
            raise TypeError("An envelope holds a snapshot, a notice, an event or a wish to cancel.")

    @property
    def text(self) -> str:
        """The content's JSON, encoded once however many followers there are."""
        if self._text is None:
            content = self._content
            self._text = encode(content if isinstance(content, str) or content is None else content.to_json())
        return self._text

    @property
    def snapshot(self) -> Snapshot | None:
        """The content, if it is a snapshot; raises `Malformed` if it came so."""
        content = self._decoded() if self.kind is Kind.SNAPSHOT else None
        return content if isinstance(content, Snapshot) else None

    @property
    def notice(self) -> Notice | None:
        """The content, if it is a notice; raises `Malformed` if it came so."""
        content = self._decoded() if self.kind is Kind.NOTICE else None
        return content if isinstance(content, Notice) else None

    @property
    def event(self) -> Event | None:
        """The content, if it is an event; raises `Malformed` if it came so."""
        content = self._decoded() if self.kind is Kind.EVENT else None
        return content if isinstance(content, Event) else None

    @property
    def cancel(self) -> str | None:
        """The id of the task that is to stop, if that is the content."""
        return self.about if self.kind is Kind.CANCEL else None

    def to_bytes(self) -> bytes:
        """For a broker: a line that says what it is, about what, in which order and for whom; then the text."""
        attempt, ended, seq = self.order
        # What can't be followed is left out: a space in it would be read as another topic.
        topics = " ".join(filter(is_topic, self.topics))
        head = f"{self.kind} {self.about or '-'} {attempt} {ended:d} {seq} {topics}"
        return b"%b %b\n%b" % (_MARK, head.encode("utf-8", "replace"), self.text.encode("utf-8", "replace"))

    @classmethod
    def from_bytes(cls, raw: bytes, *, limit: int = 65_536) -> "Envelope":
        """The reverse of `to_bytes`; raises `Malformed` for anything else, for brokers may be shared."""
        if len(raw) > limit:
            raise Malformed(f"An envelope has {len(raw):,} bytes; at most {limit:,} are read.")
        head, _, text = raw.partition(b"\n")
        try:
            mark, kind, about, attempt, ended, seq, *topics = head.decode().split(" ")
            envelope = cls.__new__(cls)
            envelope.kind = _KINDS[kind]
            envelope.about = "" if about == "-" else about
            envelope.order = (int(attempt), ended == "1", int(seq))
            envelope._text = text.decode()
        except (KeyError, ValueError) as error:
            raise Malformed(f"An envelope's head is {head[:80]!r}.") from error
        if mark != _MARK.decode() or not text.startswith(_BEGINS[envelope.kind]):
            raise Malformed(f"An envelope begins with {raw[:20]!r}.")
        envelope.topics = tuple(topics) if topics != [""] else ()
        envelope._content = envelope.about if envelope.kind is Kind.CANCEL else None
        return envelope

    def _decoded(self) -> Content | None:
        if self._content is None:
            assert self._text is not None
            try:
                self._content = _READ[self.kind](decode(self._text, limit=len(self._text)))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise Malformed(f"A {self.kind} lacks something or has too much: {error!r}.") from error
        return self._content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Envelope) and (self.topics, self.kind, self.order, self.text) == (
            other.topics,
            other.kind,
            other.order,
            other.text,
        )

    def __hash__(self) -> int:
        return hash((self.topics, self.kind, self.about, self.order))

    def __repr__(self) -> str:
        return f"<Envelope {self.kind} {self.about} {self.order} to {' '.join(self.topics)}>"


_READ: Final[Mapping[Kind, Callable[[Json], Content]]] = {
    Kind.SNAPSHOT: Snapshot.from_json,
    Kind.NOTICE: lambda data: Notice(**data),
    Kind.EVENT: lambda data: Event(**data),
}


def update_of(envelope: Envelope, n: int, now: float) -> str:
    """The message number `n` to a client that tells of this one snapshot or event."""
    if envelope.kind is Kind.EVENT:
        return f'{{"type":"update","n":{n},"now":{now:.3f},"tasks":[],"notices":[],"events":[{envelope.text}]}}'
    return f'{{"type":"update","n":{n},"now":{now:.3f},"tasks":[{envelope.text}],"notices":[],"events":[]}}'


_KINDS: Final = {kind.value: kind for kind in Kind}
_BEGINS: Final = {kind: b'"' if kind is Kind.CANCEL else b"{" for kind in Kind}
