"""The buffer of messages to send, of limited size.

It keeps whole messages while there is room, then only the topics of further messages, which listeners read from
the store, and then only a mark that messages of any topic were left out. No I/O and no lock here.
"""

import json
from typing import Final

from telltale.brokers.base import Message
from telltale.brokers.postgres import payloads

MAX_PAYLOADS: Final = 8
"""The most payloads in one transaction."""

_USABLE_BYTES: Final = payloads.CHUNK_BYTES - 3
"""The room in a payload that ends just before a character of four bytes."""

MESSAGES_BYTES: Final = (MAX_PAYLOADS - 1) * _USABLE_BYTES
"""The room for messages: some 90 snapshots, or 2 messages of the largest size that are not text."""

TOPICS_BYTES: Final = _USABLE_BYTES - 64
"""The room for the topics of messages that did not fit: some 170."""


class SendBuffer:
    """Publishers fill it, and the notification thread empties it."""

    def __init__(self) -> None:
        self._clear()

    def __bool__(self) -> bool:
        return bool(self._messages or self._missed_topics or self._missed_any)

    def add(self, message: Message) -> None:
        """Keep the message, or its topics, or the mark that something was left out."""
        part = payloads.message_part(message.body)
        if self._messages_bytes + len(part) <= MESSAGES_BYTES:
            self._messages.append(part)
            self._messages_bytes += len(part)
            return
        for topic in set(message.topics) - self._missed_topics:
            self._missed_topics.add(topic)
            self._topics_bytes += len(json.dumps(topic)) + 2
        if self._topics_bytes > TOPICS_BYTES:
            self._miss_any()

    def discard(self) -> None:
        """Drop the content, which may be old once sending works again; keep the mark that something was left out."""
        self._clear()
        self._miss_any()

    def take(self) -> list[bytes]:
        """Return the content as at most `MAX_PAYLOADS` payloads, and empty the buffer."""
        parts = [*self._messages]
        if self._missed_any:
            parts.append(payloads.MISSED_ANY_PART)
        elif self._missed_topics:
            parts.append(payloads.missed_topics_part(self._missed_topics))
        self._clear()
        return payloads.to_payloads(parts)

    def _miss_any(self) -> None:
        self._missed_any = True
        self._missed_topics.clear()
        self._topics_bytes = 0

    def _clear(self) -> None:
        self._messages: list[bytes] = []
        self._missed_topics: set[str] = set()
        self._messages_bytes = self._topics_bytes = 0
        self._missed_any = False
