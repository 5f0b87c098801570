"""The hub's driver: one for each event loop of a web process. It owns what the core must not know: time, threads, I/O.

What the broker brings goes to the hub at once; what is followed is read from the store at the pace that follows
from the broker's reach, and only while somebody follows. Both reach a client by the one path: hub → connection
→ the outlet of its transport. All of it happens in turns of the event loop that are short, however many follow.
An outage of broker or database costs freshness, nothing else.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from telltale import conf
from telltale.brokers import recheck_s
from telltale.brokers.base import Reach
from telltale.core import reasons
from telltale.core.connection import Connection, Terms, due
from telltale.core.hub import SLICE, Hub
from telltale.core.outage import Outage
from telltale.core.reasons import Reason
from telltale.core.wire import Envelope
from telltale.transports.base import Outlet
from telltale.web.ear import Ear
from telltale.web.inbox import Inbox
from telltale.web.reading import Found, Reader, together
from telltale.web.seat import Seat

logger = logging.getLogger(__name__)

LEAST_RECHECK_S: Final = 1.0
"""Two re-reads are at least this far apart, however much a broker loses."""

RETRY_READ_S: Final = 1.0
"""After a read that failed, for clients that wait for their snapshot."""

SEATS: Final = 100
"""Of those who wait for what was read, so many are served before others have their turn."""

SWEEP_S: Final = 1.0
"""How often it is seen whether something is due by itself: a ping, the end of a ticket or of patience."""


DRAIN_EVERY_S: Final = 0.05
"""Between two slices of connections that are sent away."""

RETURN_PER_S: Final = 1_000
"""So many of those who are sent away are asked to come back a second."""


class Driver:
    """Satisfies `transports.base.Server`. Everything but the inbox's and the reader's threads is on its loop."""

    def __init__(self) -> None:
        self.hub = Hub(Terms().pace_s)
        self._loop = asyncio.get_running_loop()
        self._seats: dict[Connection, Seat] = {}
        self._followers: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()
        self._inbox = Inbox(self._loop, self.deliver, self._missed)
        self._ear = Ear(self._loop, self._inbox)
        self._reader = Reader(self._ear.hear)
        self._stale = asyncio.Event()
        self._missed_topics: set[str] = set()
        self._unread: dict[Seat, frozenset[str]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._rechecking: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._turn_at: asyncio.TimerHandle | None = None
        self._is_turning = False
        self._is_drained = False
        self._draining: asyncio.Task[None] | None = None
        self._broken_store = Outage(logger, "Reading for followers", "Pages stay as they are until it works again.")
        self.counts: Counter[str] = Counter()
        """What has happened here so far: opened, closed (by reason), envelopes, frames, deliveries."""

    # What an operator asks ----------------------------------------------------------------------

    @property
    def connection_count(self) -> int:
        """Clients that are here."""
        return len(self._seats)

    @property
    def is_drained(self) -> bool:
        """Whether it takes no more clients."""
        return self._is_drained

    @property
    def can_read(self) -> bool:
        """Whether the store worked when it was last read."""
        return not self._broken_store.lasts

    @property
    def reach(self) -> Reach:
        """Of the broker that is heard; of none while none is."""
        return self._ear.reach

    # What transports ask ------------------------------------------------------------------------

    def now(self) -> float:
        """The store's clock, by the offset that was last measured."""
        return time.time() + self._reader.offset_s

    def open(self, terms: Terms, outlet: Outlet, address: str = "") -> Seat:
        """A new client; a server that is full or going away turns it away at once."""
        s = conf.settings()
        limits = {"quiet_s": s.quiet_s, "stalled_s": s.stalled_s, "lease_s": s.lease_s}
        connection = Connection(opened_at=self.now(), terms=terms, limits=limits, numbers=self.hub.numbers)
        seat = Seat(self, connection, outlet, address)
        self._seats[connection] = seat
        self.counts["opened"] += 1
        self._addresses[address] += 1
        if self._is_drained:
            seat.close(reasons.DRAIN)
        elif len(self._seats) > s.connections or (address and self._addresses[address] > s.connections_per_address):
            seat.close(reasons.LIMIT)
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.ensure_future(self._sweep())
        return seat

    # What seats ask -----------------------------------------------------------------------------

    def is_full_for(self, person: str) -> bool:
        """Whether this person has all the connections that one may have here."""
        return bool(person) and self._followers[person] >= conf.settings().connections_per_user

    def attach(self, seat: Seat) -> None:
        """From now on it hears what its ticket covers; again after a renewal."""
        if seat.connection.closed is not None:
            return
        if not seat.is_counted:
            seat.is_counted = True
            self._followers[seat.person] += 1
        self.hub.attach(seat.connection)
        if self._rechecking is None or self._rechecking.done():
            self._rechecking = asyncio.ensure_future(self._recheck())

    def leave(self, seat: Seat) -> None:
        """Its client has gone; harmless when repeated."""
        if self._seats.pop(seat.connection, None) is None:
            return
        self.hub.detach(seat.connection)
        _discount(self._addresses, seat.address)
        if seat.is_counted:
            _discount(self._followers, seat.person)

    def closed(self, reason: Reason) -> None:
        """A connection was closed for this reason."""
        self.counts[f"closed {reason.word}"] += 1

    def read_for(self, seat: Seat, topics: frozenset[str]) -> None:
        """Have it catch up with what the store knows of these topics, as soon as that is read."""
        self._unread[seat] = self._unread.get(seat, frozenset()) | topics
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._read_for_all())

    def wake(self, connection: Connection) -> None:
        """Something waits for it: see to it soon."""
        self.hub.wake(connection)
        if not self._is_turning:
            self._is_turning = True
            self._loop.call_soon(self._turn)

    # What is read -------------------------------------------------------------------------------

    async def _read_for_all(self) -> None:
        """Read for those who wait, all in one go, and again for those who have come meanwhile."""
        while self._unread:
            unread, self._unread = self._unread, {}
            found = await self._read(frozenset().union(*unread.values()))
            if found is None:
                # They are waited for, as long as their patience lasts.
                self._unread = {
                    seat: topics for seat, topics in unread.items() if not seat.connection.closed
                } | self._unread
                await asyncio.sleep(RETRY_READ_S)
                continue
            waiting = iter(unread.items())
            while some := list(islice(waiting, SEATS)):
                for seat, topics in some:
                    seat.catch_up(together(found, topics))
                self._turn()
                await asyncio.sleep(0)

    async def _read(self, topics: frozenset[str]) -> Found | None:
        """What the store knows of these topics; None while it is out of order."""
        try:
            found = await self._reader.read(topics)
        except Exception as error:
            # Whatever the database raises, it may be well again in a second.
            self._broken_store.begin(error, now=time.monotonic())
            return None
        self._broken_store.end(now=time.monotonic())
        return found

    # What happens by itself ---------------------------------------------------------------------

    def deliver(self, envelopes: Collection[Envelope]) -> None:
        """These happened: hand them on to whom they concern."""
        self.counts["envelopes"] += len(envelopes)
        self.hub.tell(envelopes, now=self.now())
        self._turn()

    def _turn(self) -> None:
        """Write what is to be written, to so many as is quick; come back for the rest."""
        self._is_turning = False
        now = self.now()
        for text, connections in self.hub.turn(now):
            if text:
                self._write(text, connections)
            else:
                self._end(connections)
        self._turn_soon()

    def _turn_soon(self) -> None:
        wake_at = self.hub.wake_at
        if self._turn_at is not None:
            self._turn_at.cancel()
        if wake_at is None:
            self._turn_at = None
        else:
            self._turn_at = self._loop.call_later(max(0.0, wake_at - self.now()), self._turn)

    def _write(self, text: str, connections: Collection[Connection]) -> None:
        self.counts["frames"] += 1
        self.counts["deliveries"] += len(connections)
        payloads: dict[Callable[[str], Any], Any] = {}
        form = payload = None
        for connection in connections:
            if connection.form is not form:
                form = connection.form
                payload = payloads.get(form)
                if payload is None:
                    payload = payloads[form] = form(text)
            connection.write(payload)

    def _end(self, connections: Iterable[Connection]) -> None:
        for connection in connections:
            if (seat := self._seats.get(connection)) is not None:
                seat.end()

    async def _sweep(self) -> None:
        """Look after all that is due by itself, for as long as anybody is here."""
        while self._seats:
            await asyncio.sleep(SWEEP_S)
            looked = due(list(self._seats), self.now())
            while some := list(islice(looked, SLICE)):
                for connection, frame in some:
                    if frame is not None:
                        self._write(frame, (connection,))
                    if connection.closed:
                        self._end((connection,))
                await asyncio.sleep(0)

    async def _recheck(self) -> None:
        """Read again what is followed, for as long as anything is."""
        read_all_at = time.monotonic()
        while self.hub.topics:
            pace_s = recheck_s(self._ear.reach)
            await asyncio.sleep(min(LEAST_RECHECK_S, pace_s))
            left_s = read_all_at + pace_s - time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stale.wait(), max(0.0, left_s))
            is_all = time.monotonic() >= read_all_at + pace_s
            topics = self._to_reread(is_all=is_all)
            read_all_at = time.monotonic() if is_all else read_all_at
            self._ear.keep_to(self.hub.follows)
            found = await self._read(topics)
            try:
                self.deliver(together(found or {}, topics))
            except Exception:
                # One that can't be told must not keep all others from being told, for ever.
                logger.exception("What was read again could not be handed on.")

    def _to_reread(self, *, is_all: bool) -> frozenset[str]:
        """All that is followed, or only what the broker said may have been missed."""
        missed, self._missed_topics = self._missed_topics, set()
        self._stale.clear()
        return self.hub.topics if is_all else frozenset(filter(self.hub.follows, missed))

    def _missed(self, topics: Collection[str] | None) -> None:
        self._missed_topics |= self.hub.topics if topics is None else set(topics)
        self._stale.set()

    # The end ------------------------------------------------------------------------------------

    def drain(self) -> None:
        """This server is going away: all are told so, and come back to another or later. Harmless when repeated."""
        if not self._is_drained:
            self._is_drained = True
            self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        """A slice at a time, and with a hint that spreads their return: whoever serves them next is spared a storm."""
        seats = list(self._seats.values())
        within_s = round(max(1.0, len(seats) / RETURN_PER_S), 1)
        for start in range(0, len(seats), SLICE):
            for seat in seats[start : start + SLICE]:
                seat.close(reasons.DRAIN, within_s=within_s)
            await asyncio.sleep(DRAIN_EVERY_S)

    async def close(self) -> None:
        """Drain, and let go of threads and sockets."""
        self.drain()
        if self._draining is not None:
            await self._draining
        for task in (self._reading, self._rechecking, self._sweeping):
            if task is not None:
                task.cancel()
        if self._turn_at is not None:
            self._turn_at.cancel()
        self._reader.close()
        await asyncio.to_thread(self.let_go)

    def let_go(self) -> None:
        """Have the broker no longer call; blocks for a moment."""
        self._ear.close()


def _discount(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


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
