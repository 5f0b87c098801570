"""The driver of a hub, one for each event loop of a web process. It owns what the core must not know: time and I/O.

Envelopes come from the broker at once (`broker_feed.py`) and from reads of the store (`refresher.py`). Both reach a
client by one path: hub → connection → the outlet of its transport. The work is done in short turns of the event
loop, however many clients there are.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any, Final

from telltale import conf
from telltale.brokers.base import Reach
from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.core.hub import SLICE, Hub, due_frames
from telltale.core.policy import Bearer, ConnectionPolicy, Grant
from telltale.core.reasons import Reason
from telltale.core.snapshot import Order
from telltale.core.topics import RIGHTS, is_topic
from telltale.core.wire import Envelope
from telltale.live.broker_feed import BrokerFeed
from telltale.live.client import ConnectedClient
from telltale.live.refresher import Refresher
from telltale.live.rights_checker import RightsChecker
from telltale.transports.base import Outlet

SWEEP_S: Final = 1.0
"""How often connections are checked for what becomes due by time alone: a ping, an expired ticket, a time limit."""

CLOCK_STEP_S: Final = 0.5
"""A larger change of the store's clock is not a matter of measuring: it was set."""

DRAIN_EVERY_S: Final = 0.05
"""Between two slices of connections that are closed while draining."""

RETURN_PER_S: Final = 1_000
"""Clients a second that are asked to return after a drain."""


class Driver:
    """Satisfies `TransportHost` and `ClientHost`. Runs on its loop; the feed and the reader have threads of theirs."""

    def __init__(self) -> None:
        self.hub = Hub(ConnectionPolicy().pace_s)
        self._loop = asyncio.get_running_loop()
        self.counts: Counter[str] = Counter()
        """Totals: opened, closed (by reason), envelopes, corrections, frames, deliveries."""
        self._clients: dict[Connection, ConnectedClient] = {}
        self._connections_by_person: Counter[str] = Counter()
        self._connections_by_address: Counter[str] = Counter()
        self._feed = BrokerFeed(self._loop, self._hear, self._confirm, self._missed)
        self._refresher = Refresher(self.hub, self._feed, self._deliver_read)
        self._rights = RightsChecker(self._clients.values, self.now)
        self._sweep_task: asyncio.Task[None] | None = None
        self._turn_timer: asyncio.TimerHandle | None = None
        self._turn_at = 0.0
        self._is_turn_scheduled = False
        self._is_draining = False
        self._drain_task: asyncio.Task[None] | None = None

    # For the status addresses --------------------------------------------------------------------

    @property
    def connection_count(self) -> int:
        """The number of clients."""
        return len(self._clients)

    @property
    def is_draining(self) -> bool:
        """Whether it accepts no more clients."""
        return self._is_draining

    @property
    def can_read(self) -> bool:
        """Whether the last read of the store succeeded."""
        return self._refresher.can_read

    @property
    def reach(self) -> Reach:
        """The reach of the broker that is listened to; NOWHERE while there is none, and while it is down."""
        return self._feed.reach

    @property
    def is_broker_down(self) -> bool:
        """Whether the broker's messages don't arrive. It is listened to from the first read for a client on."""
        return self._feed.is_down

    # For transports ------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the time of the store's clock, by the last measured offset."""
        return time.monotonic() + self._measured_offset_s()

    def monotonic(self) -> float:
        """Return the time of the hub and its connections: a clock that is never set."""
        self._measured_offset_s()
        return time.monotonic()

    def _measured_offset_s(self) -> float:
        """Return the store's clock minus the hub's. If the store's clock was set, connections learn of it."""
        offset_s, offset = self._refresher.offset_s, self.hub.offset
        if offset_s != offset.seconds:
            is_set = abs(offset_s - offset.seconds) > CLOCK_STEP_S
            offset.seconds = offset_s
            for connection in self._clients if is_set else ():
                connection.due_at = float("-inf")  # The end of its ticket may have come nearer.
        return offset_s

    def open(self, policy: ConnectionPolicy, outlet: Outlet, address: str = "") -> ConnectedClient:
        """Return a new client; it is closed already if this server is full or draining."""
        settings = conf.settings()
        connection = Connection(
            opened_at=self.monotonic(),
            policy=policy,
            limits=settings.limits,
            frame_numbers=self.hub.frame_numbers,
            offset=self.hub.offset,
        )
        client = ConnectedClient(self, connection, outlet, address)
        self._clients[connection] = client
        self.counts["opened"] += 1
        self._connections_by_address[client.address] += 1
        is_address_full = address and self._connections_by_address[client.address] > settings.connections_per_address
        if self._is_draining:
            client.close(reasons.DRAIN)
        elif len(self._clients) > settings.connections or is_address_full:
            client.close(reasons.LIMIT)
        if self._sweep_task is None or self._sweep_task.done():
            self._sweep_task = asyncio.ensure_future(self._sweep())
        return client

    # For clients ---------------------------------------------------------------------------------

    def is_full_for(self, person: str) -> bool:
        """Whether this person has as many connections here as one person may have.

        `person`: a topic; or the network address of a client whose ticket names no person.
        """
        settings = conf.settings()
        limit = settings.connections_per_user if is_topic(person) else settings.connections_without_person
        return bool(person) and self._connections_by_person[person] >= limit

    def attach(self, client: ConnectedClient) -> None:
        """Send the client what its ticket covers, from now on; call again after a renewal."""
        if client.connection.closed is not None:
            return
        if not client.is_counted:
            client.is_counted = True
            self._connections_by_person[client.person] += 1
        self.hub.attach(client.connection)
        self._refresher.start_rereading()
        self._rights.start()
        for attached in _attach_listeners:
            attached(self, client.topics)

    def detach(self, connection: Connection) -> None:
        """Send it nothing more; harmless when repeated."""
        self.hub.detach(connection)

    def remove(self, client: ConnectedClient) -> None:
        """Forget a client that has disconnected; harmless when repeated."""
        if self._clients.pop(client.connection, None) is None:
            return
        self.hub.detach(client.connection)
        _decrement(self._connections_by_address, client.address)
        if client.is_counted:
            _decrement(self._connections_by_person, client.person)

    def count_closed(self, reason: Reason) -> None:
        """Count a connection that was closed for this reason."""
        self.counts[f"closed {reason.word}"] += 1

    def read_for(
        self, topics: frozenset[str], on_read: Callable[[list[Envelope]], None], is_gone: Callable[[], bool]
    ) -> None:
        """Read the store for `topics` soon and call `on_read`; a failed read is repeated until `is_gone`."""
        self._refresher.read_for(topics, on_read, is_gone)

    def has_signed_out(self, grant: Grant) -> bool:
        """Whether the session of the ticket has ended."""
        return self._rights.has_signed_out(grant)

    def is_check_due(self, grant: Grant) -> bool:
        """Whether the rights of the bearer have to be checked before anything is sent."""
        return self._rights.is_due(grant)

    def check_rights(self, bearer: Bearer, on_checked: Callable[[bool], None]) -> None:
        """Check soon whether the rights of `bearer` have ended, and call `on_checked` with the verdict."""
        self._rights.check(bearer, on_checked)

    def wake(self, connection: Connection) -> None:
        """Something waits for this connection and may be sent: do it in the next turn."""
        self.hub.wake(connection)
        if not self._is_turn_scheduled:
            self._is_turn_scheduled = True
            self._loop.call_soon(self._turn)

    # Delivering ----------------------------------------------------------------------------------

    def deliver(self, envelopes: Collection[Envelope]) -> None:
        """Send these envelopes to the clients that follow their topics."""
        self.counts["envelopes"] += len(envelopes)
        self.hub.receive(envelopes, now=self.monotonic())
        self._turn()

    def _hear(self, envelopes: Collection[Envelope]) -> None:
        """Send what the broker carried; the next read of the store confirms or corrects it."""
        self.counts["envelopes"] += len(envelopes)
        for envelope in envelopes:
            if RIGHTS in envelope.topics:
                self._rights.receive(envelope)
        self.hub.hear(envelopes, now=self.monotonic())
        self._turn()

    def _deliver_read(self, envelopes: Collection[Envelope], heard: Mapping[str, Order]) -> None:
        """Send what was read of the store, which outranks what was `heard` before the read."""
        self.counts["envelopes"] += len(envelopes)
        self.counts["corrections"] += self.hub.receive_read(envelopes, heard, now=self.monotonic())
        self._turn()

    def _confirm(self, ends: Collection[Envelope]) -> None:
        self._refresher.confirm(ends)

    def _missed(self, topics: Collection[str] | None) -> None:
        self._refresher.missed(topics)

    def _turn(self) -> None:
        """Write what is due to as many clients as is quick; the next turn does the rest."""
        self._is_turn_scheduled = False
        # Frames for a single client each are made first and written in one go: a program that reads many of them
        # wakes once and finds them all, instead of once for each.
        unwritten: list[tuple[Callable[[Any], object], Any]] = []
        for text, connections in self.hub.take(self.monotonic()):
            if text and len(connections) == 1:
                connection = connections[0]
                unwritten.append((connection.write, connection.form(text)))
                continue
            self._flush(unwritten)
            if text:
                self._write(text, connections)
            else:
                self._end(connections)
        self._flush(unwritten)
        self._schedule_turn()

    def _flush(self, unwritten: list[tuple[Callable[[Any], object], Any]]) -> None:
        self.counts["frames"] += len(unwritten)
        self.counts["deliveries"] += len(unwritten)
        for write, payload in unwritten:
            write(payload)
        unwritten.clear()

    def _schedule_turn(self) -> None:
        """Schedule a turn for the moment when the hub has something to do."""
        wake_at = self.hub.wake_at
        if wake_at is None:
            return
        timer = self._turn_timer
        if timer is not None:
            if self._turn_at <= wake_at:
                return  # That turn comes early enough and schedules the next; a timer for each message would cost more.
            timer.cancel()
        self._turn_at = wake_at
        self._turn_timer = self._loop.call_later(max(0.0, wake_at - self.monotonic()), self._timed_turn)

    def _timed_turn(self) -> None:
        self._turn_timer = None
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
            if (client := self._clients.get(connection)) is not None:
                client.end()

    async def _sweep(self) -> None:
        """Send pings and close what is overdue, while there are clients."""
        while self._clients:
            await asyncio.sleep(SWEEP_S)
            frames = due_frames(list(self._clients), self.monotonic())
            while batch := list(islice(frames, SLICE)):
                for connection, frame in batch:
                    if frame is not None:
                        self._write(frame, (connection,))
                    if connection.closed:
                        self._end((connection,))
                await asyncio.sleep(0)

    # Shutdown ------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Accept no more clients and close all: they return to another server, or later. Harmless when repeated."""
        if not self._is_draining:
            self._is_draining = True
            self._drain_task = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        """Close a slice at a time, with a hint that spreads the clients' return over some seconds."""
        clients = list(self._clients.values())
        within_s = round(max(1.0, len(clients) / RETURN_PER_S), 1)
        for start in range(0, len(clients), SLICE):
            for client in clients[start : start + SLICE]:
                client.close(reasons.DRAIN, within_s=within_s)
            await asyncio.sleep(DRAIN_EVERY_S)

    async def close(self) -> None:
        """Drain, then free threads and sockets."""
        self.drain()
        if self._drain_task is not None:
            await self._drain_task
        if self._sweep_task is not None:
            self._sweep_task.cancel()
        if self._turn_timer is not None:
            self._turn_timer.cancel()
        self._refresher.close()
        self._rights.close()
        await asyncio.to_thread(self.close_feed)

    def close_feed(self) -> None:
        """Stop listening to the broker; blocks briefly."""
        self._feed.close()


def _decrement(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


Attached = Callable[[Driver, AbstractSet[str]], None]
"""Called with the driver and all topics of a client, when the client begins to follow or renews its ticket."""

_attach_listeners: list[Attached] = []


def on_attach(attached: Attached) -> None:
    """Call this for every client of every driver, on its event loop: for sources of events other than the broker."""
    if attached not in _attach_listeners:
        _attach_listeners.append(attached)


_drivers: dict[asyncio.AbstractEventLoop, Driver] = {}


def driver() -> Driver:
    """Return the driver of the running event loop."""
    running_loop = asyncio.get_running_loop()
    if running_loop not in _drivers:
        for closed_loop in [loop for loop in _drivers if loop.is_closed()]:
            _drivers.pop(closed_loop).close_feed()
        _drivers[running_loop] = Driver()
    return _drivers[running_loop]


def drain_all() -> None:
    """Drain every driver of this process; call it from any thread or from a signal handler."""
    for loop, loop_driver in list(_drivers.items()):
        if not loop.is_closed():
            loop.call_soon_threadsafe(loop_driver.drain)


async def close_driver() -> None:
    """Close the driver of the running loop, if there is one; the next `driver()` makes another."""
    loop_driver = _drivers.pop(asyncio.get_running_loop(), None)
    if loop_driver is not None:
        await loop_driver.close()
