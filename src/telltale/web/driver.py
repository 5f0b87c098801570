"""The hub's driver: one for each event loop of a web process. It owns what the core must not know: time, threads, I/O.

What the broker brings goes to the hub at once; what is followed is read from the store at the pace that follows
from the broker's reach, and only while somebody follows. Both reach a client by the one path: hub → connection
→ the transport that waits on its `Seat`. An outage of broker or database costs freshness, nothing else.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from telltale import conf
from telltale.brokers import broker, recheck_s
from telltale.brokers.base import Listener, Reach
from telltale.core import reasons
from telltale.core.connection import Connection, Terms
from telltale.core.hub import Hub
from telltale.core.outage import Outage
from telltale.core.wire import Envelope
from telltale.transports.base import Follower
from telltale.web.inbox import Inbox
from telltale.web.reading import Reader, together
from telltale.web.seat import Seat

logger = logging.getLogger(__name__)

LEAST_RECHECK_S: Final = 1.0
"""Two re-reads are at least this far apart, however much a broker loses."""

LISTEN_AGAIN_S: Final = 10.0
"""After a broker would not listen: asking may take it seconds, for which a read waits."""


class Driver:
    """Satisfies `transports.base.Server`. Everything but the inbox's and the reader's threads is on its loop."""

    def __init__(self) -> None:
        self.hub = Hub()
        self._seats: dict[Connection, Seat] = {}
        self._attached: set[Connection] = set()
        self._followers: Counter[str] = Counter()
        self._inbox = Inbox(asyncio.get_running_loop(), self._deliver, self._missed)
        self._reader = Reader(self._listen)
        self._stale = asyncio.Event()
        self._rechecking: asyncio.Task[None] | None = None
        self._listener: Listener | None = None
        self._listening = threading.Lock()
        self._listen_at = float("-inf")
        self._reach = Reach.NOWHERE
        self._drained = False
        self._broken_broker = Outage(logger, "Listening to the broker", "Pages are told later, from the database.")
        self._broken_store = Outage(logger, "Reading for followers", "Pages stay as they are until it works again.")

    # What transports ask ------------------------------------------------------------------------

    def now(self) -> float:
        """The store's clock, by the offset that was last measured."""
        return time.time() + self._reader.offset_s

    def open(self, terms: Terms) -> Seat:
        """A new client; a server that is going away turns it away at once."""
        s = conf.settings()
        limits = {"quiet_s": s.quiet_s, "stalled_s": s.stalled_s, "lease_s": s.lease_s}
        seat = Seat(self, Connection(opened_at=self.now(), terms=terms, limits=limits))
        self._seats[seat.connection] = seat
        if self._drained:
            seat.close(reasons.DRAIN)
        return seat

    def leave(self, follower: Follower) -> None:
        """The client has gone; harmless when repeated."""
        seat = self._seats.pop(follower.connection, None)
        if seat is None:
            return
        seat.left()
        if seat.connection in self._attached:
            self._attached.discard(seat.connection)
            self.hub.detach(seat.connection)
            self._count(seat, -1)

    # What seats ask -----------------------------------------------------------------------------

    def is_full_for(self, person: str) -> bool:
        """Whether this person has all the connections that one may have here."""
        return bool(person) and self._followers[person] >= conf.settings().connections_per_user

    def attach(self, seat: Seat) -> None:
        """From now on it hears what its ticket covers; again after a renewal."""
        if seat.connection.closed is not None:
            return
        if seat.connection not in self._attached:
            self._attached.add(seat.connection)
            self._count(seat, +1)
        self.hub.attach(seat.connection)
        if self._rechecking is None or self._rechecking.done():
            self._rechecking = asyncio.ensure_future(self._recheck())

    async def read(self, topics: frozenset[str]) -> list[Envelope] | None:
        """What the store knows of these topics; None while it is out of order."""
        try:
            found = await self._reader.read(topics)
        except Exception as error:
            # Whatever the database raises, it may be well again in a second.
            self._broken_store.begin(error, now=time.monotonic())
            return None
        self._broken_store.end(now=time.monotonic())
        return together(found)

    # What happens by itself ---------------------------------------------------------------------

    def drain(self) -> None:
        """This server is going away: all are told so, and come back to another or later."""
        self._drained = True
        for seat in list(self._seats.values()):
            seat.close(reasons.DRAIN)

    async def close(self) -> None:
        """Drain, and let go of threads and sockets."""
        self.drain()
        if self._rechecking is not None:
            self._rechecking.cancel()
        self._reader.close()
        await asyncio.to_thread(self.let_go)

    def let_go(self) -> None:
        """Have the broker no longer call; blocks for a moment."""
        with self._listening:
            self._drained = True
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    async def _recheck(self) -> None:
        """Read again what is followed, for as long as anything is."""
        while self.hub.topics:
            pace_s = recheck_s(self._reach)
            await asyncio.sleep(min(LEAST_RECHECK_S, pace_s))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stale.wait(), max(0.0, pace_s - LEAST_RECHECK_S))
            self._stale.clear()
            envelopes = await self.read(self.hub.topics)
            try:
                self._deliver(envelopes or [])
            except Exception:
                # One that can't be told must not keep all others from being told, for ever.
                logger.exception("What was read again could not be handed on.")

    def _deliver(self, envelopes: list[Envelope]) -> None:
        for connection in self.hub.deliver_all(envelopes):
            if (seat := self._seats.get(connection)) is not None:
                seat.wake()

    def _missed(self, _topics: Collection[str] | None) -> None:
        self._stale.set()

    def _count(self, seat: Seat, by: int) -> None:
        person = seat.connection.grant.follower if seat.connection.grant is not None else ""
        self._followers[person] += by
        if self._followers[person] <= 0:
            del self._followers[person]

    def _listen(self) -> None:
        """Have the broker listen; in the reader's thread, before the first read and after an outage."""
        with self._listening:
            if self._listener is not None or self._drained or time.monotonic() < self._listen_at:
                return
            try:
                courier = broker()
                self._listener = courier.listen(self._inbox.put, self._inbox.missed)
            except Exception as error:
                # Brokers are anyone's code; without one the store is read at its own pace.
                self._broken_broker.begin(error, now=time.monotonic())
                self._listen_at = time.monotonic() + LISTEN_AGAIN_S
                return
            self._reach = courier.reach
            self._broken_broker.end(now=time.monotonic())


_drivers: dict[asyncio.AbstractEventLoop, Driver] = {}


def driver() -> Driver:
    """The driver of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _drivers:
        for ended in [other for other in _drivers if other.is_closed()]:
            _drivers.pop(ended).let_go()
        _drivers[loop] = Driver()
    return _drivers[loop]


def drain_all() -> None:
    """Have every driver of this process drain; from any thread, also from a signal handler."""
    for loop, one in list(_drivers.items()):
        if not loop.is_closed():
            loop.call_soon_threadsafe(one.drain)


async def close_present() -> None:
    """Close the running loop's driver, if it has one; the next `driver()` makes another."""
    one = _drivers.pop(asyncio.get_running_loop(), None)
    if one is not None:
        await one.close()
