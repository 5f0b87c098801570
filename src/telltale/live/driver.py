"""The hub's driver: one for each event loop of a web process. It owns what the core must not know: time, threads, I/O.

What the broker brings goes to the hub at once, and so does what is read from the store (`freshness.py`). Both reach
a client by the one path: hub → connection → the outlet of its transport. All of it happens in turns of the event
loop that are short, however many follow.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import Any, Final

from telltale import conf
from telltale.brokers.base import Reach
from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.core.hub import SLICE, Hub, due
from telltale.core.policy import ConnectionPolicy
from telltale.core.reasons import Reason
from telltale.core.wire import Envelope
from telltale.live.broker_feed import Ear, Inbox
from telltale.live.client import ConnectedClient
from telltale.live.refresher import Refresher
from telltale.transports.base import Outlet

SWEEP_S: Final = 1.0
"""How often it is seen whether something is due by itself: a ping, the end of a ticket or of patience."""

DRAIN_EVERY_S: Final = 0.05
"""Between two slices of connections that are sent away."""

RETURN_PER_S: Final = 1_000
"""So many of those who are sent away are asked to come back a second."""


class Driver:
    """Satisfies `transports.base.Server`. Everything but the inbox's and the reader's threads is on its loop."""

    def __init__(self) -> None:
        self.hub = Hub(ConnectionPolicy().pace_s)
        self._loop = asyncio.get_running_loop()
        self._seats: dict[Connection, ConnectedClient] = {}
        self._followers: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()
        self._ear = Ear(self._loop, Inbox(self._loop, self.deliver, self._missed))
        self._freshness = Refresher(self.hub, self._ear, self.deliver)
        self._sweeping: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._turn_at = 0.0
        self._is_turning = False
        self._is_drained = False
        self._draining: asyncio.Task[None] | None = None
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
        return self._freshness.can_read

    @property
    def reach(self) -> Reach:
        """Of the broker that is heard; of none while none is."""
        return self._ear.reach

    # What transports ask ------------------------------------------------------------------------

    def now(self) -> float:
        """The store's clock, by the offset that was last measured."""
        return time.time() + self._freshness.offset_s

    def open(self, policy: ConnectionPolicy, outlet: Outlet, address: str = "") -> ConnectedClient:
        """A new client; a server that is full or going away turns it away at once."""
        s = conf.settings()
        limits = {"quiet_s": s.quiet_s, "stalled_s": s.stalled_s, "lease_s": s.lease_s}
        connection = Connection(opened_at=self.now(), policy=policy, limits=limits, numbers=self.hub.numbers)
        seat = ConnectedClient(self, connection, outlet, address)
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

    def attach(self, seat: ConnectedClient) -> None:
        """From now on it hears what its ticket covers; again after a renewal."""
        if seat.connection.closed is not None:
            return
        if not seat.is_counted:
            seat.is_counted = True
            self._followers[seat.person] += 1
        self.hub.attach(seat.connection)
        self._freshness.keep()

    def leave(self, seat: ConnectedClient) -> None:
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

    def read_for(self, seat: ConnectedClient, topics: frozenset[str]) -> None:
        """Have it catch up with what the store knows of these topics, as soon as that is read."""
        self._freshness.read_for(seat, topics)

    def wake(self, connection: Connection) -> None:
        """Something waits for it: see to it soon."""
        self.hub.wake(connection)
        if not self._is_turning:
            self._is_turning = True
            self._loop.call_soon(self._turn)

    # What happens by itself ---------------------------------------------------------------------

    def deliver(self, envelopes: Collection[Envelope]) -> None:
        """These happened: hand them on to whom they concern."""
        self.counts["envelopes"] += len(envelopes)
        self.hub.tell(envelopes, now=self.now())
        self._turn()

    def _missed(self, topics: Collection[str] | None) -> None:
        self._freshness.missed(topics)

    def _turn(self) -> None:
        """Write what is to be written, to so many as is quick; come back for the rest."""
        self._is_turning = False
        # Frames for one client each are worked out first and written in one go: a reader of many that is woken
        # by the first finds them all, where it would have slept and been woken for each.
        ready: list[tuple[Callable[[Any], object], Any]] = []
        for text, connections in self.hub.turn(self.now()):
            if text and len(connections) == 1:
                connection = connections[0]
                ready.append((connection.write, connection.form(text)))
                continue
            self._flush(ready)
            if text:
                self._write(text, connections)
            else:
                self._end(connections)
        self._flush(ready)
        self._turn_soon()

    def _flush(self, ready: list[tuple[Callable[[Any], object], Any]]) -> None:
        self.counts["frames"] += len(ready)
        self.counts["deliveries"] += len(ready)
        for write, payload in ready:
            write(payload)
        ready.clear()

    def _turn_soon(self) -> None:
        """See that a turn comes when the hub has something to do."""
        wake_at = self.hub.wake_at
        if wake_at is None:
            return
        timer = self._timer
        if timer is not None:
            if self._turn_at <= wake_at:
                return  # It comes early enough, and looks again then: a new one for each message would cost more.
            timer.cancel()
        self._turn_at = wake_at
        self._timer = self._loop.call_later(max(0.0, wake_at - self.now()), self._timed_turn)

    def _timed_turn(self) -> None:
        self._timer = None
        self._turn()

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
        for one in (self._sweeping, self._timer):
            if one is not None:
                one.cancel()
        self._freshness.close()
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
