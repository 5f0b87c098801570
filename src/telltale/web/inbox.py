"""From the broker to the event loop: what arrives in a thread is decoded there, and handed over here in one go.

Bounded: a loop that is held up finds the newest word of each burst, not a queue without end; what does not
fit is forgotten, and the store is read again instead. Used by `driver.py` alone.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from telltale.brokers.base import Missed
from telltale.core.wire import Envelope, Malformed

logger = logging.getLogger(__name__)

ROOM: Final = 10_000
"""Envelopes that may wait for the loop."""


class Inbox:
    """`put` and `missed` are called by the broker, in any thread; `take`, `handle` and `reread` on the loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        handle: Callable[[list[Envelope]], None],
        reread: Missed,
    ) -> None:
        self._loop, self._handle, self._reread = loop, handle, reread
        self._lock = threading.Lock()
        self._arrived: list[Envelope] = []

    def put(self, messages: Sequence[bytes]) -> None:
        """Messages came; any thread. What can't be understood is left to the next read of the store."""
        envelopes = _decoded(messages)
        with self._lock:
            is_first = not self._arrived
            has_room = len(self._arrived) + len(envelopes) <= ROOM
            if has_room:
                self._arrived += envelopes
        if not has_room:
            self.missed()
        elif is_first and envelopes:
            self._call(self._empty)

    def take(self, messages: Sequence[bytes]) -> None:
        """Messages came to the loop itself; as `put`, without the way."""
        envelopes = _decoded(messages)
        if envelopes:
            self._handle(envelopes)

    def missed(self, topics: Collection[str] | None = None) -> None:
        """Something of these topics (None: of any) may have been lost; any thread."""
        self._call(partial(self._reread, topics))

    def _empty(self) -> None:
        with self._lock:
            arrived, self._arrived = self._arrived, []
        self._handle(arrived)

    def _call(self, function: Callable[[], None]) -> None:
        # RuntimeError: the loop has ended, and all its followers with it.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)


def _decoded(messages: Sequence[bytes]) -> list[Envelope]:
    """What of it can be understood and is for browsers."""
    envelopes = []
    for message in messages:
        try:
            envelope = Envelope.from_bytes(message)
        except Malformed as error:
            logger.warning("A message of the broker is left out: %s", error)
            continue
        if envelope.cancel is None:
            envelopes.append(envelope)
    return envelopes
