"""Envelopes, which brokers carry between processes, and the JSON in them and in messages of clients.

An envelope holds a whole state and no delta, so it is harmless to lose, repeat or reorder it. A web process reads only
its head and passes its text on as it is: a text that a worker has encoded is not decoded and encoded again on the way.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from telltale.core.snapshot import Order, Snapshot, is_credible, known_fields
from telltale.core.states import State
from telltale.core.topics import is_topic

INBOUND_BYTES: Final = 16_384
"""Upper bound of one message from a client."""

LEVELS: Final = ("info", "success", "warning", "error")

Json = Mapping[str, Any]

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Malformed(ValueError):
    """A message or envelope that has another form than it should."""


def encode(message: object) -> str:
    """Return compact JSON; raise `ValueError` for NaN and infinity, because browsers can't read them."""
    return _ENCODER.encode(message)


def decode(raw: str | bytes, *, limit: int = INBOUND_BYTES) -> dict[str, Any]:
    """Read one JSON object; raise `Malformed` for anything else, or beyond `limit` bytes or characters."""
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
    """Its recipient's: `user:<pk>` or `session:<name>`."""
    level: str
    text: str
    url: str | None = None
    task: str | None = None
    """The id of the task that it is about, if any."""
    created_at: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Reverse `to_json`; unknown keys are ignored, because newer senders may add some."""
        return cls(**known_fields(cls, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Any other named message with data; it is not kept."""

    topic: str
    name: str
    data: Any = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Reverse `to_json`; unknown keys are ignored, because newer senders may add some."""
        return cls(**known_fields(cls, data))


class Kind(StrEnum):
    """The kind of an envelope's content, as its head names it."""

    SNAPSHOT = "snapshot"
    NOTICE = "notice"
    EVENT = "event"
    CANCEL = "cancel"


Content = Snapshot | Notice | Event | str

_FORMAT: Final = b"t1"
"""The first word of every envelope: during a deployment, processes with another format don't misread it."""

_NO_ORDER: Final[Order] = (0, False, 0)


class Envelope:
    """One content of the four kinds, with the topics whose followers may have it.

    Immutable. If it was read from bytes, its text is there at once, and its content is decoded at the first access.
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
        """Give exactly one content. `cancel`: the id of a task to be cancelled, for workers and not for browsers."""
        self.topics = tuple(topics)
        self.about = ""
        """The id of the task or notice that it is about; empty for an event."""
        self.order = _NO_ORDER
        """The order of the snapshot; meaningless for other kinds."""
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
            raise TypeError("An envelope has no content: give it snapshot=, notice=, event= or cancel=.")

    @property
    def text(self) -> str:
        """The content's JSON; it is encoded once, for all followers."""
        if self._text is None:
            content = self._content
            self._text = encode(content if isinstance(content, str) or content is None else content.to_json())
        return self._text

    @property
    def snapshot(self) -> Snapshot | None:
        """The content if it is a snapshot, else None; raises `Malformed` if it can't be decoded."""
        content = self._decoded() if self.kind is Kind.SNAPSHOT else None
        return content if isinstance(content, Snapshot) else None

    @property
    def notice(self) -> Notice | None:
        """The content if it is a notice, else None; raises `Malformed` if it can't be decoded."""
        content = self._decoded() if self.kind is Kind.NOTICE else None
        return content if isinstance(content, Notice) else None

    @property
    def event(self) -> Event | None:
        """The content if it is an event, else None; raises `Malformed` if it can't be decoded."""
        content = self._decoded() if self.kind is Kind.EVENT else None
        return content if isinstance(content, Event) else None

    @property
    def cancel(self) -> str | None:
        """The id of the task to be cancelled if that is the content, else None."""
        return self.about if self.kind is Kind.CANCEL else None

    def denies(self, heard: Order, *, now: float) -> bool:
        """Whether this snapshot, read from the store at the store's time `now`, shows that `heard` was never true.

        `heard`: the order of a snapshot of the same task that was there before the read.
        """
        snapshot = self.snapshot
        if snapshot is None:
            return False
        beat_at = snapshot.beat_at if snapshot.state is State.RUNNING else None
        return not is_credible(heard, self.order, beat_at=beat_at, now=now)

    def to_bytes(self) -> bytes:
        """Return it as a broker carries it: a line with format, kind, id, order and topics, then the text."""
        attempt, ended, seq = self.order
        # An invalid topic is left out: a space in it would be read as the start of another.
        topics = " ".join(filter(is_topic, self.topics))
        head = f"{self.kind} {self.about or '-'} {attempt} {ended:d} {seq} {topics}"
        return b"%b %b\n%b" % (_FORMAT, head.encode("utf-8", "replace"), self.text.encode("utf-8", "replace"))

    @classmethod
    def from_bytes(cls, raw: bytes, *, limit: int = 65_536) -> "Envelope":
        """Reverse `to_bytes`; raise `Malformed` for anything else, because other programs may use the broker."""
        if len(raw) > limit:
            raise Malformed(f"An envelope has {len(raw):,} bytes; at most {limit:,} are read.")
        head, _, text = raw.partition(b"\n")
        try:
            format_, kind, about, attempt, ended, seq, *topics = head.decode().split(" ")
            envelope = cls.__new__(cls)
            envelope.kind = _KIND_OF[kind]
            envelope.about = "" if about == "-" else about
            envelope.order = (int(attempt), ended == "1", int(seq))
            envelope._text = text.decode()
        except (KeyError, ValueError) as error:
            raise Malformed(f"An envelope's head is {head[:80]!r}.") from error
        if format_ != _FORMAT.decode() or not text.startswith(_FIRST_BYTE[envelope.kind]):
            raise Malformed(f"An envelope begins with {raw[:20]!r}.")
        envelope.topics = tuple(topics) if topics != [""] else ()
        envelope._content = envelope.about if envelope.kind is Kind.CANCEL else None
        return envelope

    def _decoded(self) -> Content | None:
        if self._content is None:
            assert self._text is not None
            try:
                self._content = _DECODERS[self.kind](decode(self._text, limit=len(self._text)))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise Malformed(f"A {self.kind} has other fields than it should: {error!r}.") from error
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


_DECODERS: Final[Mapping[Kind, Callable[[Json], Content]]] = {
    Kind.SNAPSHOT: Snapshot.from_json,
    Kind.NOTICE: Notice.from_json,
    Kind.EVENT: Event.from_json,
}


_KIND_OF: Final = {kind.value: kind for kind in Kind}
_FIRST_BYTE: Final = {kind: b'"' if kind is Kind.CANCEL else b"{" for kind in Kind}
