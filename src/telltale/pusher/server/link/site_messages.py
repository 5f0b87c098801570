"""The form of the stand-in's messages on Telltale's broker. Pure.

A body begins with `P1`, the sending process, the message's number and its kind, in one line; Telltale's own envelopes
begin otherwise, and each side skips the other's. The number makes every body unique: brokers may deliver equal bodies
once. A body that is too large for a broker is split, and put together again.
"""

import json
from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from telltale.brokers.delivery import MESSAGE_BYTES
from telltale.pusher.server.membership.entries import READ_ERRORS, MalformedReport, encode

PREFIX: Final = b"P1 "
"""The first word: during a deployment, processes with another format don't misread it."""

PART_BYTES: Final = MESSAGE_BYTES - 256
"""What one body carries of a split message; the head has less than the rest."""

INCOMPLETE: Final = 64
"""Split messages that may wait for their other parts; the oldest is dropped first."""

REMEMBERED: Final = 2_000
"""Numbers of each process that are remembered, to skip repeated messages."""

PROCESSES: Final = 1_000
"""Processes whose numbers are remembered."""


class Kind(StrEnum):
    """What a message carries."""

    MEMBERSHIP = "m"
    CACHE = "c"
    EVENT = "e"
    TERMINATE = "t"
    FALLBACK = "f"


_MEMBERSHIP: Final = Kind.MEMBERSHIP.encode()


@dataclass(frozen=True, slots=True)
class SiteMessage:
    """A message that arrived."""

    process: str
    kind: Kind
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteEvent:
    """An event for the subscribers of a channel, as it travels between processes."""

    app_id: str
    channel: str
    text: str
    """The finished message for clients."""
    socket_id: str | None = None
    """This connection does not get it."""
    counter: int | None = None
    """Of an event that cache channels keep; None: it is not kept."""
    ttl_s: float | None = None
    """How long it is kept from now on, in seconds."""

    def to_text(self) -> str:
        """Return a line of JSON, then the text."""
        head = [self.app_id, self.channel, self.socket_id, self.counter, self.ttl_s]
        return f"{encode(head)}\n{self.text}"

    @classmethod
    def from_text(cls, content: str) -> "SiteEvent":
        """Reverse `to_text`; raises `MalformedReport`."""
        head, _, text = content.partition("\n")
        try:
            app_id, channel, socket_id, counter, ttl_s = json.loads(head)
        except READ_ERRORS as error:
            raise MalformedReport(f"An event of another process begins with {head:.80}.") from error
        return cls(app_id=app_id, channel=channel, text=text, socket_id=socket_id, counter=counter, ttl_s=ttl_s)


class Writer:
    """Makes the bodies that one process sends."""

    def __init__(self, process: str) -> None:
        self._prefix = PREFIX + process.encode() + b" "
        self._number = 0

    def bodies(self, kind: Kind, content: str) -> list[bytes]:
        """Return one body, or several if the content is large."""
        data = content.encode("utf-8", "surrogatepass")
        if len(data) <= PART_BYTES:
            return [self._body(kind, "", data)]
        chunks = [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)]
        whole = self._number + 1
        return [self._body(kind, f" {whole} {part} {len(chunks)}", chunk) for part, chunk in enumerate(chunks)]

    def _body(self, kind: Kind, part: str, data: bytes) -> bytes:
        self._number += 1
        return b"%b%d %b%b\n%b" % (self._prefix, self._number, kind.encode(), part.encode(), data)


class Reader:
    """Reads the bodies that arrive at the process `process`.

    Skips repeated ones, those of other programs, and its own. Its own membership is read: that shows that the broker
    works.
    """

    def __init__(self, process: str) -> None:
        self._process = process.encode()
        self._numbers: OrderedDict[bytes, _Recent] = OrderedDict()
        self._incomplete: OrderedDict[tuple[bytes, bytes], dict[int, bytes]] = OrderedDict()

    def read(self, body: bytes) -> SiteMessage | None:
        """Return a message; None if there is none, or its other parts are missing. Raises `MalformedReport`."""
        if not body.startswith(PREFIX):
            return None
        head, _, data = body.partition(b"\n")
        try:
            _, process, number, kind, *part = head.split(b" ")
            if (process == self._process and kind != _MEMBERSHIP) or not self._is_new(process, int(number)):
                return None
            whole = self._put_together(process, part, data) if part else data
            if whole is None:
                return None
            return SiteMessage(process.decode(), Kind(kind.decode()), whole.decode("utf-8", "surrogatepass"))
        except READ_ERRORS as error:
            raise MalformedReport(f"A message of another process begins with {head[:80]!r}.") from error

    def _is_new(self, process: bytes, number: int) -> bool:
        recent = self._numbers.get(process)
        if recent is None:
            recent = self._numbers[process] = _Recent()
            if len(self._numbers) > PROCESSES:
                self._numbers.popitem(last=False)
        return recent.add(number)

    def _put_together(self, process: bytes, part: list[bytes], data: bytes) -> bytes | None:
        name, number, parts = part[0], int(part[1]), int(part[2])
        if not 0 <= number < parts:
            raise ValueError(f"This is part {number} of {parts}.")
        chunks = self._incomplete.setdefault((process, name), {})
        chunks[number] = data
        if len(chunks) == parts:
            del self._incomplete[process, name]
            return b"".join(chunks[number] for number in range(parts))
        if len(self._incomplete) > INCOMPLETE:
            self._incomplete.popitem(last=False)
        return None


class _Recent:
    """The numbers that came last from one process."""

    def __init__(self) -> None:
        self._order: deque[int] = deque()
        self._numbers: set[int] = set()

    def add(self, number: int) -> bool:
        """Remember a number; False if it is known."""
        if number in self._numbers:
            return False
        self._numbers.add(number)
        self._order.append(number)
        if len(self._order) > REMEMBERED:
            self._numbers.discard(self._order.popleft())
        return True
