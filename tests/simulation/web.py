"""A web process: a real hub with real connections; it can die and start again."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from telltale.core.connection import Connection
from telltale.core.health import Limits
from telltale.core.hub import due_frames
from telltale.core.policy import ConnectionPolicy, Grant, Phase
from telltale.core.snapshot import Order
from telltale.core.wire import Envelope
from tests.simulation.ledger import Ledger, require
from tests.simulation.rng import Rng
from tests.simulation.sabotage import Sabotage, Sabotages
from tests.simulation.sabotaged import connection_of, hub_of
from tests.simulation.store import DatabaseDown, Store

RECHECK_S = 15.0
MAX_EXCESS = 2_000
"""A client's credit is exceeded by one frame at most."""
MAX_LATENESS_S = 5.1
"""An event loop has a turn each 5 s at least, in which it closes what is overdue."""
LIMITS = Limits(quiet_s=60.0, stalled_s=45.0, lease_s=105.0)


class Link:
    """A connection and its outlet: frames arrive in order and late, or are lost when the link is cut."""

    __slots__ = ("connection", "is_cut", "unacknowledged", "wire")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        connection.outlet = self
        self.wire: deque[tuple[float, str]] = deque()
        self.unacknowledged: deque[tuple[int, int]] = deque()
        """The number and the size of each frame that the client has not acknowledged."""
        self.is_cut = False

    def cut(self) -> None:
        """Lose the frames on the way; neither side learns of it."""
        self.is_cut = True
        self.wire.clear()


class Read(NamedTuple):
    """The answer of the store, on its way back."""

    due_at: float
    link: Link | None
    """The link that asked; None for a re-read of all followed topics."""
    found: list[Envelope]
    heard: Mapping[str, Order]
    """What a re-read confirms."""


class Web:
    """`recheck`: whether it re-reads what its connections follow; `policy`: of its connections."""

    def __init__(
        self, store: Store, ledger: Ledger, policy: ConnectionPolicy, sabotage: Sabotages, *, recheck: bool
    ) -> None:
        self._store, self._ledger, self._policy, self._sabotage = store, ledger, policy, sabotage
        self._recheck = recheck and Sabotage.NO_RECHECK not in sabotage
        self._connection_class = connection_of(sabotage)
        self.start()

    def start(self) -> None:
        """Start a new process, without connections."""
        self.up = True
        self.hub = hub_of(self._sabotage)
        self.links: list[Link] = []
        self.reads: list[Read] = []
        """The answers of the store that are on their way."""
        self._unread: list[Link] = []
        self._rechecked_at = 0.0
        self._now = 0.0

    def die(self) -> None:
        """Stop, with all its connections."""
        self.up = False
        for link in self.links:
            link.cut()
        self.links = []

    def connect(self, grant: Grant, have: Mapping[str, Order], seen: Iterable[str], now: float, rng: Rng) -> Link:
        """Open a connection for a page: attach first, read second."""
        connection = self._connection_class(
            opened_at=now, policy=self._policy, limits=LIMITS, frame_numbers=self.hub.frame_numbers
        )
        connection.admit(grant, have=have, seen=seen, now=now)
        link = Link(connection)
        self.links.append(link)
        if Sabotage.SNAPSHOT_FIRST in self._sabotage:
            self._read(link, now, rng)
        else:
            self.hub.attach(connection)
            self._unread.append(link)
        return link

    def renew(self, link: Link, grant: Grant, now: float) -> None:
        """Accept a new ticket on an open connection."""
        link.connection.admit(grant, now=now)
        if link.connection.phase is not Phase.CLOSED:
            self.hub.attach(link.connection)
            self._unread.append(link)

    def receive(self, raw: bytes, now: float) -> None:
        """Receive an envelope from the broker."""
        self.hub.hear([Envelope.from_bytes(raw)], now=now)
        self._send(now)

    def run(self, now: float, rng: Rng, publish: Callable[[Iterable[Envelope], Rng], None]) -> None:
        """Run the event loop once: start reads, handle answers, and send what is due."""
        self._now = now
        is_recheck_due = self._recheck and now >= self._rechecked_at + RECHECK_S and bool(self.hub.connections)
        if self._unread or is_recheck_due:
            # Every read marks expired tasks as lost, and publishes that.
            if not self._store.is_down:
                publish(self._store.expire(now), rng)
            links, self._unread = self._unread, []
            for link in links:
                if not link.is_cut and not self._read(link, now, rng):
                    self._unread.append(link)
        if is_recheck_due:
            self._rechecked_at = now
            self._read(None, now, rng)
        arrived = [read for read in self.reads if read.due_at <= now] if self.reads else ()
        if arrived:
            self.reads = [read for read in self.reads if read.due_at > now]
            for read in arrived:
                self._answer(read)
        self._send(now)
        due = [link.connection for link in self.links if link.connection.due_at <= now]
        for connection, frame in due_frames(due, now) if due else ():
            if frame is not None and Sabotage.NO_TRAILING_FRAME not in self._sabotage:
                self._write(connection, frame, now)
        for link in self.links:
            if link.is_cut or link.connection.closed:
                return self._end_closed(now)

    def _read(self, link: Link | None, now: float, rng: Rng) -> bool:
        grant = link.connection.grant if link else None
        topics = grant.topics if grant else self.hub.topics
        try:
            found = self._store.read(topics)
        except DatabaseDown:
            return False
        heard = self.hub.begin_read() if link is None else {}
        self.reads.append(Read(now + rng.between(0.0, 0.5), link, found, heard))
        return True

    def _answer(self, read: Read) -> None:
        if read.link is None:
            corrections = self.hub.receive_read(read.found, read.heard, now=self._now)
            forged = sum(it in self._ledger.forged for it in read.heard.items())
            require(corrections <= forged, "I4: a true snapshot was taken back, because a read did not confirm it")
        elif not read.link.is_cut:
            if Sabotage.SNAPSHOT_FIRST in self._sabotage:
                self.hub.attach(read.link.connection)
            read.link.connection.catch_up(read.found)
            self.hub.wake(read.link.connection)

    def acknowledge(self, link: Link, n: int, now: float) -> None:
        """The page has handled all frames up to number `n`."""
        while link.unacknowledged and link.unacknowledged[0][0] <= n:
            link.unacknowledged.popleft()
        link.connection.ack(n, now=now)
        if link.connection.can_send:
            self.hub.wake(link.connection)

    def _send(self, now: float) -> None:
        wake_at = self.hub.wake_at
        if wake_at is None or wake_at > now:
            return
        for frame, connections in self.hub.take(now):
            for connection in connections if frame else ():
                self._write(connection, frame, now)

    def _write(self, connection: Connection, frame: str, now: float) -> None:
        link: Link = connection.outlet
        if link.is_cut:
            return
        link.wire.append((now + 0.05, frame))
        link.unacknowledged.append((connection.last_number, len(frame)))
        if len(link.unacknowledged) > 1:
            size = sum(size for _n, size in link.unacknowledged)
            require(size <= connection.credit + MAX_EXCESS, f"R: a client has {size:,} unacknowledged characters")
        grant = connection.grant
        is_valid = grant is not None and now < grant.expires_at + MAX_LATENESS_S
        require(is_valid, "P: a page got something after its ticket expired")

    def _end_closed(self, now: float) -> None:
        for link in self.links:
            if link.connection.closed is not None and not link.is_cut:
                self._ledger.events[f"closed, {link.connection.closed.word}"] += 1
                link.wire.append((now + 0.05, link.connection.bye()))
            if link.connection.closed is not None or link.is_cut:
                self.hub.detach(link.connection)
        self.links = [link for link in self.links if not (link.connection.closed or link.is_cut)]
