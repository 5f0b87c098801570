"""The format of notifications: parts, joined and split into payloads that PostgreSQL takes.

A payload is text in UTF-8 without NUL, of fewer than 8,000 bytes; a message may be any bytes and twice as long.
A part is a kind, a length and a content; a message that is no text is encoded in base64. The joined parts are
split wherever a payload is full. PostgreSQL delivers the payloads of a transaction together and in order, or none
of them, so a `Reassembler` can join them again. No I/O here.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

PAYLOAD_BYTES: Final = 7_999
"""The largest payload."""

MAGIC: Final = b"telltale1"
"""The first bytes of every payload: a process of another version, during a deployment, must not misread it."""

CHUNK_BYTES: Final = PAYLOAD_BYTES - len(b"%b 99/99 " % MAGIC)
"""The room for parts in one payload, after its magic, its number and the number of payloads."""

MISSED_ANY_PART: Final = b"e0:"
"""The part that says: messages of any topic may be lost."""


class InvalidPayload(ValueError):
    """A payload of another version, or one without its predecessors."""


@dataclass(slots=True)
class Batch:
    """The content of one transaction."""

    bodies: list[bytes] = field(default_factory=list)
    missed_topics: set[str] = field(default_factory=set)
    """Messages of these topics were left out."""
    missed_any: bool = False
    """Messages of any topic may have been left out."""


def message_part(body: bytes) -> bytes:
    """The part that carries one message."""
    return _part(b"m", body) if _is_text(body) else _part(b"x", b64encode(body))


def missed_topics_part(topics: Collection[str]) -> bytes:
    """The part that says that messages of `topics` were left out."""
    return _part(b"t", json.dumps(sorted(topics)).encode())


def probe_part(token: bytes) -> bytes:
    """The part by which a process tests that it receives notifications; others ignore it. `token` is ASCII."""
    return _part(b"k", token)


def to_payloads(parts: Iterable[bytes]) -> list[bytes]:
    """Join `parts` and split them into as few payloads as possible; at most 99."""
    chunks = list(_chunks(b"".join(parts)))
    return [b"%b %d/%d %b" % (MAGIC, number, len(chunks), chunk) for number, chunk in enumerate(chunks, 1)]


class Reassembler:
    """Joins the payloads of a transaction again."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def add(self, payload: bytes) -> Batch | None:
        """Return the batch once its last payload is added; until then None.

        Raises `InvalidPayload` for everything that `to_payloads` did not make, and then starts over.
        """
        number, count, chunk = _parse_payload(payload)
        self._chunks = [*self._chunks, chunk] if number > 1 else [chunk]
        if len(self._chunks) != number:
            self._chunks = []
            raise InvalidPayload(f"A payload is number {number} of {count}, and those before it are missing.")
        if number < count:
            return None
        content, self._chunks = b"".join(self._chunks), []
        return _parse_batch(content)


def _is_text(body: bytes) -> bool:
    if b"\0" in body:
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _part(kind: bytes, content: bytes) -> bytes:
    return b"%b%d:%b" % (kind, len(content), content)


def _chunks(content: bytes) -> Iterable[bytes]:
    start = 0
    while start < len(content):
        end = start + CHUNK_BYTES
        while end < len(content) and content[end] & 0xC0 == 0x80:
            # Within a character: the server refuses half characters.
            end -= 1
        yield content[start:end]
        start = end


def _parse_payload(payload: bytes) -> tuple[int, int, bytes]:
    """(number, number of payloads, chunk)."""
    magic, _, rest = payload.partition(b" ")
    numbers, _, chunk = rest.partition(b" ")
    number, _, count = numbers.partition(b"/")
    if magic != MAGIC or not (number.isdigit() and count.isdigit() and 0 < int(number) <= int(count)):
        raise InvalidPayload(f"A payload begins with {payload[:16]!r}, not with {MAGIC!r}, its number and the count.")
    return int(number), int(count), chunk


def _parse_batch(content: bytes) -> Batch:
    batch, position = Batch(), 0
    while position < len(content):
        head, colon, _ = content[position : position + 12].partition(b":")
        kind, length = head[:1], head[1:]
        start = position + len(head) + 1
        if not (colon and length.isdigit() and start + int(length) <= len(content)):
            raise InvalidPayload(
                f"A part begins with {content[position : position + 12]!r}, not with its kind and its length."
            )
        position = start + int(length)
        _add_part(batch, kind, content[start:position])
    return batch


def _add_part(batch: Batch, kind: bytes, content: bytes) -> None:
    try:
        if kind == b"m":
            batch.bodies.append(content)
        elif kind == b"x":
            batch.bodies.append(b64decode(content, validate=True))
        elif kind == b"t":
            batch.missed_topics.update(map(str, json.loads(content)))
        elif kind == b"e":
            batch.missed_any = True
        elif kind != b"k":
            raise InvalidPayload(f"A part has the kind {kind!r}, which this version does not know.")
    except (ValueError, TypeError) as error:
        raise InvalidPayload(f"A part of the kind {kind!r} can't be read: {error}") from error
