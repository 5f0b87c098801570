"""Bundles: many messages in one message of a channel layer, and the buffer that collects them.

A layer limits the number of messages that wait in a channel (100 by default), not their size, and each message
costs a millisecond or so. No I/O and no lock here. A bundle is text, a line of JSON and then all bodies, because
some serializers of layers (JSON) take no bytes.
"""

import json
from collections import deque
from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass
from typing import Final

from telltale.brokers.base import Message

BUNDLE_BYTES: Final = 262_144
"""The room for messages in a bundle: some 800 snapshots. A hundred bundles that wait in a channel hold 25 MB."""

MISSED_TOPICS: Final = 1_000
"""The most missed topics in a bundle; beyond that, any topic counts as missed."""

_MESSAGE_BYTES: Final = 32
"""Added to a message's size for its entry in the first line."""

_VERSION: Final = 1


class InvalidBundle(ValueError):
    """A bundle of another version, or no bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What one process sends at one time. A bundle with messages or missed topics has a new number."""

    sender: str
    """A random name of the sending process."""
    number: int
    """1, 2, 3, …; a beacon, which is a bundle without content, repeats the number of the last bundle."""
    messages: Sequence[Message] = ()
    missed_topics: Collection[str] = ()
    """Topics of messages that were not sent: their followers re-read the store."""
    missed_any: bool = False
    """Whether messages of any topic were not sent."""

    def bodies(self, followed: Container[str]) -> list[bytes]:
        """The bodies of messages to followed topics."""
        return [message.body for message in self.messages if any(topic in followed for topic in message.topics)]


def pack(bundle: Bundle) -> str:
    """Return `bundle` as text; each character stands for one byte of a body."""
    first_line = {
        "version": _VERSION,
        "sender": bundle.sender,
        "number": bundle.number,
        "missed": True if bundle.missed_any else list(bundle.missed_topics),
        "messages": [[message.topics, len(message.body)] for message in bundle.messages],
    }
    bodies = b"".join([message.body for message in bundle.messages])
    return json.dumps(first_line, separators=(",", ":")) + "\n" + bodies.decode("latin-1")


def unpack(text: object) -> Bundle:
    """The bundle that `pack` made text of; raises `InvalidBundle`."""
    try:
        return _unpack(text)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidBundle(f"{str(text)[:80]!r} is no bundle of version {_VERSION}: {error!r}") from error


def _unpack(text: object) -> Bundle:
    first_line, _, bodies = text.partition("\n") if isinstance(text, str) else ("", "", "")
    fields = json.loads(first_line)
    if fields["version"] != _VERSION:
        raise ValueError(f"version {fields['version']!r}")
    messages, start = [], 0
    for topics, length in fields["messages"]:
        messages.append(Message(tuple(topics), bodies[start : start + length].encode("latin-1")))
        start += length
    if start != len(bodies):
        raise ValueError(f"{len(bodies)} bytes of bodies, not {start}")
    missed = fields["missed"]
    return Bundle(
        sender=str(fields["sender"]),
        number=int(fields["number"]),
        messages=messages,
        missed_topics=() if missed is True else frozenset(missed),
        missed_any=missed is True,
    )


class SendBuffer:
    """The content of the next bundle. When it is full, the newest messages stay, and of older ones their topics."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._missed_topics: set[str] = set()
        self._clear()

    def __bool__(self) -> bool:
        return bool(self._messages or self._missed_topics or self._missed_any)

    def add(self, message: Message) -> int:
        """Keep `message`; return the number of older messages that were dropped for it."""
        self._messages.append(message)
        self._bytes += _size(message)
        dropped = 0
        while self._bytes > BUNDLE_BYTES:
            oldest = self._messages.popleft()
            self._bytes -= _size(oldest)
            self._missed_topics.update(oldest.topics)
            dropped += 1
        if self._missed_any or len(self._missed_topics) > MISSED_TOPICS:
            self.miss_any()
        return dropped

    def discard(self) -> None:
        """Drop the content, which may be old once sending works again; keep the mark that something was dropped."""
        self._clear()
        self.miss_any()

    def miss_any(self) -> None:
        """Mark that messages of any topic may be lost."""
        self._missed_any = True
        self._missed_topics = set()

    def take(self, *, sender: str, number: int) -> Bundle:
        """Return the content as a bundle, and empty the buffer."""
        bundle = Bundle(
            sender=sender,
            number=number,
            messages=tuple(self._messages),
            missed_topics=self._missed_topics,
            missed_any=self._missed_any,
        )
        self._clear()
        return bundle

    def _clear(self) -> None:
        self._messages, self._bytes = deque(), 0
        self._missed_topics, self._missed_any = set(), False


def _size(message: Message) -> int:
    return len(message.body) + sum(map(len, message.topics)) + _MESSAGE_BYTES
