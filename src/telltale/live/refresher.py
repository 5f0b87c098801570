"""What followers see is fresh: the store is read for those who come, again at the pace that follows from the broker's
reach, and soon where a broker says that something may have been missed. Only while somebody follows.

Decides when and what is read; `reading.py` reads, `ear.py` hears. An outage of the database costs freshness, nothing
else: who waits for a snapshot waits on. Everything is on the event loop. Used by `driver.py` alone.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from itertools import islice
from typing import Final

from telltale.brokers import recheck_s
from telltale.core.hub import Hub
from telltale.core.outage import Outage
from telltale.core.wire import Envelope
from telltale.live.broker_feed import Ear
from telltale.live.client import ConnectedClient
from telltale.live.reader import Found, Reader, together

logger = logging.getLogger(__name__)

LEAST_RECHECK_S: Final = 1.0
"""Two re-reads are at least this far apart, however much a broker loses."""

RETRY_READ_S: Final = 1.0
"""After a read that failed, for clients that wait for their snapshot."""

SEATS: Final = 100
"""Of those who wait for what was read, so many are served before others have their turn."""


class Refresher:
    """Of one driver's followers."""

    def __init__(self, hub: Hub, ear: Ear, deliver: Callable[[Collection[Envelope]], None]) -> None:
        """`deliver`: hands on what was read again."""
        self._hub, self._ear, self._deliver = hub, ear, deliver
        self._reader = Reader(ear.hear)
        self._unread: dict[ConnectedClient, frozenset[str]] = {}
        self._missed: set[str] = set()
        self._is_stale = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._rechecking: asyncio.Task[None] | None = None
        self._outage = Outage(logger, "Reading for followers", "Pages stay as they are until it works again.")

    @property
    def offset_s(self) -> float:
        """The store's clock minus this machine's, as last measured."""
        return self._reader.offset_s

    @property
    def can_read(self) -> bool:
        """Whether the store worked when it was last read."""
        return not self._outage.lasts

    def read_for(self, seat: ConnectedClient, topics: frozenset[str]) -> None:
        """Have it catch up with what the store knows of these topics, as soon as that is read."""
        self._unread[seat] = self._unread.get(seat, frozenset()) | topics
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._read_for_all())

    def keep(self) -> None:
        """Somebody follows: read again and again from now on, until nobody does."""
        if self._rechecking is None or self._rechecking.done():
            self._rechecking = asyncio.ensure_future(self._recheck())

    def missed(self, topics: Collection[str] | None) -> None:
        """Something of these topics (None: of any) may have been lost on its way here."""
        self._missed |= self._hub.topics if topics is None else set(topics)
        self._is_stale.set()

    def close(self) -> None:
        """Read no more."""
        for task in (self._reading, self._rechecking):
            if task is not None:
                task.cancel()
        self._reader.close()

    async def _read_for_all(self) -> None:
        """Read for those who wait, all in one go, and again for those who have come meanwhile."""
        while self._unread:
            unread, self._unread = self._unread, {}
            found = await self._read(frozenset().union(*unread.values()))
            if found is None:
                # They are waited for, as long as their patience lasts.
                waiting = {seat: topics for seat, topics in unread.items() if not seat.connection.closed}
                self._unread = waiting | self._unread
                await asyncio.sleep(RETRY_READ_S)
            else:
                await self._hand_out(unread, found)

    async def _hand_out(self, unread: dict[ConnectedClient, frozenset[str]], found: Found) -> None:
        waiting = iter(unread.items())
        while some := list(islice(waiting, SEATS)):
            for seat, topics in some:
                seat.catch_up(together(found, topics))
            await asyncio.sleep(0)

    async def _recheck(self) -> None:
        read_all_at = time.monotonic()
        while self._hub.topics:
            pace_s = recheck_s(self._ear.reach)
            await asyncio.sleep(min(LEAST_RECHECK_S, pace_s))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_stale.wait(), max(0.0, read_all_at + pace_s - time.monotonic()))
            is_all = time.monotonic() >= read_all_at + pace_s
            read_all_at = time.monotonic() if is_all else read_all_at
            await self._read_again(self._to_read(is_all=is_all))

    async def _read_again(self, topics: frozenset[str]) -> None:
        self._ear.keep_to(self._hub.follows)
        found = await self._read(topics)
        try:
            self._deliver(together(found or {}, topics))
        except Exception:
            # One that can't be told must not keep all others from being told, for ever.
            logger.exception("What was read again could not be handed on.")

    def _to_read(self, *, is_all: bool) -> frozenset[str]:
        """All that is followed, or only what may have been missed."""
        missed, self._missed = self._missed, set()
        self._is_stale.clear()
        return self._hub.topics if is_all else frozenset(filter(self._hub.follows, missed))

    async def _read(self, topics: frozenset[str]) -> Found | None:
        """What the store knows of these topics; None while it is out of order."""
        try:
            found = await self._reader.read(topics)
        except Exception as error:
            # Whatever the database raises, it may be well again in a second.
            self._outage.begin(error, now=time.monotonic())
            return None
        self._outage.end(now=time.monotonic())
        return found
