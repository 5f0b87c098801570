"""What waits to be sent: bounded, whatever is published meanwhile.

While there is room, whole messages; then only their topics, which listeners read from the store; past that a
mark that something of any topic was left out. No I/O and no lock: the courier brings both.
"""

import json
from typing import Final

from telltale.brokers.base import Message
from telltale.brokers.postgres import payloads

AT_ONCE: Final = 8
"""Payloads at most in one transaction."""

_USABLE_BYTES: Final = payloads.PIECE_BYTES - 3
"""Of a payload that is cut before a character of four bytes."""

MESSAGES_BYTES: Final = (AT_ONCE - 1) * _USABLE_BYTES
"""Room for messages: some 90 snapshots, or 2 messages of the largest size that are not text."""

TOPICS_BYTES: Final = _USABLE_BYTES - 64
"""Room for the topics of those that found none: some 170."""


class Pending:
    """Filled by those who publish, emptied by the one who sends."""

    def __init__(self) -> None:
        self._clear()

    def __bool__(self) -> bool:
        return bool(self._messages or self._topics or self._everything)

    def add(self, message: Message) -> None:
        """Keep it whole, or its topics, or in the end that something was left out."""
        part = payloads.message(message.body)
        if self._messages_bytes + len(part) <= MESSAGES_BYTES:
            self._messages.append(part)
            self._messages_bytes += len(part)
            return
        for topic in set(message.topics) - self._topics:
            self._topics.add(topic)
            self._topics_bytes += len(json.dumps(topic)) + 2
        if self._topics_bytes > TOPICS_BYTES:
            self._leave_out_any()

    def lose(self) -> None:
        """Nothing of it can be sent, and it may be old when something can: keep the mark alone."""
        self._clear()
        self._leave_out_any()

    def take(self) -> list[bytes]:
        """All of it as payloads, `AT_ONCE` at most; from now on it is empty."""
        parts = [*self._messages]
        if self._everything:
            parts.append(payloads.EVERYTHING)
        elif self._topics:
            parts.append(payloads.left_out(self._topics))
        self._clear()
        return payloads.payloads(parts)

    def _leave_out_any(self) -> None:
        self._everything = True
        self._topics.clear()
        self._topics_bytes = 0

    def _clear(self) -> None:
        self._messages: list[bytes] = []
        self._topics: set[str] = set()
        self._messages_bytes = self._topics_bytes = 0
        self._everything = False
