"""What a notification holds: parts one behind the other, cut into payloads that PostgreSQL takes.

A payload is text in UTF-8 without NUL, of fewer than 8,000 bytes; a message may be any bytes and twice as long.
So a message that is text travels as it is, any other in base64, each behind its kind and its length, and the
whole is cut wherever a payload is full. All payloads of a transaction arrive together and in order, between
those of others, or none does: whoever hears them puts them together again by a `Joiner`. No I/O here.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

PAYLOAD_BYTES: Final = 7_999
"""Upper bound of one payload."""

MARK: Final = b"telltale1"
"""Begins every payload: processes of another version, during a deployment, do not misread each other."""

PIECE_BYTES: Final = PAYLOAD_BYTES - len(b"%b 99/99 " % MARK)
"""What of the parts goes into one payload, behind its mark, its number and the number of all."""

EVERYTHING: Final = b"e0:"
"""The part that says: something of any topic may have been lost."""


class Unreadable(ValueError):
    """A payload of another version, or one whose neighbours are missing."""


@dataclass(slots=True)
class Arrived:
    """What the payloads of one transaction said."""

    bodies: list[bytes] = field(default_factory=list)
    topics: set[str] = field(default_factory=set)
    """Of these something was left out."""
    everything: bool = False
    """Something may have been left out of any topic."""


def message(body: bytes) -> bytes:
    """The part that carries one message."""
    return _part(b"m", body) if _is_text(body) else _part(b"x", b64encode(body))


def left_out(topics: Collection[str]) -> bytes:
    """The part that says of which topics something was left out."""
    return _part(b"t", json.dumps(sorted(topics)).encode())


def token(value: bytes) -> bytes:
    """The part by which a process finds out whether it hears itself, and which means nothing; `value` is ASCII."""
    return _part(b"k", value)


def payloads(parts: Iterable[bytes]) -> list[bytes]:
    """`parts` as payloads, in as few as they fit into; at most 99 of them."""
    pieces = list(_pieces(b"".join(parts)))
    return [b"%b %d/%d %b" % (MARK, n, len(pieces), piece) for n, piece in enumerate(pieces, 1)]


class Joiner:
    """Puts together what `payloads` has cut."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def add(self, payload: bytes) -> Arrived | None:
        """What was said, once its last payload is here; until then None.

        Raises `Unreadable` for whatever is not of our making, and then begins anew.
        """
        number, of, piece = _read(payload)
        self._pieces = [*self._pieces, piece] if number > 1 else [piece]
        if len(self._pieces) != number:
            self._pieces = []
            raise Unreadable(f"A payload is number {number} of {of}, and those before it are missing.")
        if number < of:
            return None
        whole, self._pieces = b"".join(self._pieces), []
        return _arrived(whole)


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


def _pieces(whole: bytes) -> Iterable[bytes]:
    at = 0
    while at < len(whole):
        end = at + PIECE_BYTES
        while end < len(whole) and whole[end] & 0xC0 == 0x80:
            # Within a character: the server refuses halves.
            end -= 1
        yield whole[at:end]
        at = end


def _read(payload: bytes) -> tuple[int, int, bytes]:
    mark, _, rest = payload.partition(b" ")
    numbers, _, piece = rest.partition(b" ")
    number, _, of = numbers.partition(b"/")
    if mark != MARK or not (number.isdigit() and of.isdigit() and 0 < int(number) <= int(of)):
        raise Unreadable(f"A payload begins with {payload[:16]!r}, not with {MARK!r}, its number and that of all.")
    return int(number), int(of), piece


def _arrived(whole: bytes) -> Arrived:
    arrived, at = Arrived(), 0
    while at < len(whole):
        head, colon, _ = whole[at : at + 12].partition(b":")
        kind, length = head[:1], head[1:]
        begins = at + len(head) + 1
        if not (colon and length.isdigit() and begins + int(length) <= len(whole)):
            raise Unreadable(f"A part begins with {whole[at : at + 12]!r}, not with its kind and its length.")
        at = begins + int(length)
        _take(arrived, kind, whole[begins:at])
    return arrived


def _take(arrived: Arrived, kind: bytes, content: bytes) -> None:
    try:
        if kind == b"m":
            arrived.bodies.append(content)
        elif kind == b"x":
            arrived.bodies.append(b64decode(content, validate=True))
        elif kind == b"t":
            arrived.topics.update(map(str, json.loads(content)))
        elif kind == b"e":
            arrived.everything = True
        elif kind != b"k":
            raise Unreadable(f"A part is of the kind {kind!r}, which this version does not know.")
    except (ValueError, TypeError) as error:
        raise Unreadable(f"A part of the kind {kind!r} can't be read: {error}") from error
