"""What a web process hears of the broker: one listener, that follows what is followed here, where it can choose.

Asked before each read of the store, in the reader's thread, so that what happens from then on is heard: attach
first, read second. Without a broker that works, the store is read at its own pace. Used by `driver.py` alone.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from telltale.brokers import broker
from telltale.brokers.base import Listener, Missed, OnLoop, Reach, Selective
from telltale.core.outage import Outage
from telltale.core.wire import Envelope, Malformed

logger = logging.getLogger(__name__)

LISTEN_AGAIN_S: Final = 10.0
"""After a broker would not listen: asking may take it seconds, for which a read waits."""


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


class Ear:
    """One a driver, whose loop hears the broker itself where it can; else the broker's thread fills the inbox."""

    def __init__(self, loop: asyncio.AbstractEventLoop, inbox: Inbox) -> None:
        self.reach = Reach.NOWHERE
        """Of the broker that is heard; of none while none is."""
        self._loop, self._inbox = loop, inbox
        self._lock = threading.Lock()
        self._listener: Listener | None = None
        self._followed: set[str] = set()
        self._listen_at = float("-inf")
        self._is_closed = False
        self._outage = Outage(logger, "Listening to the broker", "Pages are told later, from the database.")

    def hear(self, topics: Collection[str]) -> None:
        """See that these are heard; blocks, for a second or so where the broker is slow. Never raises."""
        with self._lock:
            if self._is_closed:
                return
            try:
                self._listen()
                self._follow(topics)
            except Exception as error:
                # Brokers are anyone's code; without one the store is read at its own pace.
                self._outage.begin(error, now=time.monotonic())
                self._listen_at = time.monotonic() + LISTEN_AGAIN_S

    def keep_to(self, is_followed: Callable[[str], bool]) -> None:
        """Hear no more what nobody follows; returns at once, and is left for the next time while it is busy."""
        if not isinstance(self._listener, Selective) or not self._lock.acquire(blocking=False):
            return
        try:
            gone = {topic for topic in self._followed if not is_followed(topic)}
            if gone and isinstance(self._listener, Selective):
                self._followed -= gone
                self._listener.forget(gone)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Hear nothing more; blocks for a moment."""
        with self._lock:
            self._is_closed = True
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _listen(self) -> None:
        if self._listener is not None or time.monotonic() < self._listen_at:
            return
        courier = broker()
        if isinstance(courier, OnLoop):
            self._listener = courier.listen_on(self._loop, self._inbox.take, self._inbox.missed)
        else:
            self._listener = courier.listen(self._inbox.put, self._inbox.missed)
        self.reach = courier.reach
        self._outage.end(now=time.monotonic())

    def _follow(self, topics: Collection[str]) -> None:
        if not isinstance(self._listener, Selective):
            return
        new = [topic for topic in topics if topic not in self._followed]
        if new:
            self._followed.update(new)
            self._listener.follow(new)
