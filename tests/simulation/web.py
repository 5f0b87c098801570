"""A web process: a real hub with real connections, driven as the transports drive them; can die and start again."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from telltale.core.connection import Connection
from telltale.core.health import Limits
from telltale.core.hub import due_frames
from telltale.core.policy import ConnectionPolicy, Grant, Phase
from telltale.core.snapshot import Order
from telltale.core.wire import Envelope
from tests.simulation.ledger import Ledger
from tests.simulation.luck import Luck
from tests.simulation.sabotage import Sabotage, Sabotages
from tests.simulation.sabotaged import connection_of, hub_of
from tests.simulation.store import Away, Store

RECHECK_S = 15.0
LIMITS = Limits(quiet_s=60.0, stalled_s=45.0, lease_s=105.0)


class Link:
    """A connection and the wire behind it, its outlet: frames arrive late and in order, or are cut off with it."""

    __slots__ = ("connection", "is_cut", "wire")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        connection.outlet = self
        self.wire: deque[tuple[float, str]] = deque()
        self.is_cut = False

    def cut(self) -> None:
        """What is under way is lost; neither side is told."""
        self.is_cut = True
        self.wire.clear()


class Read(NamedTuple):
    """A read of the store on its way back."""

    due: float
    link: Link | None
    """Whose snapshot it is; None: a re-check of all that is followed."""
    found: list[Envelope]


class Web:
    """`recheck` is whether it re-reads what is watched; `policy` how it treats its followers."""

    def __init__(
        self, store: Store, ledger: Ledger, policy: ConnectionPolicy, sabotage: Sabotages, *, recheck: bool
    ) -> None:
        self._store, self._ledger, self._policy, self._sabotage = store, ledger, policy, sabotage
        self._recheck = recheck and Sabotage.NO_RECHECK not in sabotage
        self._make = connection_of(sabotage)
        self.start()

    def start(self) -> None:
        """A new process: it knows nothing."""
        self.up = True
        self.hub = hub_of(self._sabotage)
        self.links: list[Link] = []
        self._reads: list[Read] = []
        self._asked: list[Link] = []
        self._rechecked_at = 0.0
        self._now = 0.0

    @property
    def busy(self) -> bool:
        """Whether its event loop has anything to do."""
        return bool(self.links or self._reads)

    def dies(self) -> None:
        """All connections with it."""
        self.up = False
        for link in self.links:
            link.cut()
        self.links = []

    def connects(self, grant: Grant, have: Mapping[str, Order], seen: Iterable[str], now: float, luck: Luck) -> Link:
        """A page connects: attach first, read second."""
        connection = self._make(opened_at=now, policy=self._policy, limits=LIMITS, frame_numbers=self.hub.frame_numbers)
        connection.admit(grant, have=have, seen=seen, now=now)
        link = Link(connection)
        self.links.append(link)
        if Sabotage.SNAPSHOT_FIRST in self._sabotage:
            self._read(link, now, luck)
        else:
            self.hub.attach(connection)
            self._asked.append(link)
        return link

    def renews(self, link: Link, grant: Grant, now: float) -> None:
        """A new ticket on an open connection."""
        link.connection.admit(grant, now=now)
        if link.connection.phase is not Phase.CLOSED:
            self.hub.attach(link.connection)
            self._asked.append(link)

    def hears(self, raw: bytes, now: float) -> None:
        """The broker brings an envelope."""
        self.hub.receive([Envelope.from_bytes(raw)], now=now)
        self._turn(now)

    def works(self, now: float, luck: Luck, publish: Callable[[Iterable[Envelope], Luck], None]) -> None:
        """The event loop's turn: reads, answers, the re-check, and whatever connections have to send."""
        self._now = now
        if self._asked or (self._recheck and now >= self._rechecked_at + RECHECK_S and self.hub.connections):
            # A read decides by itself what is lost, and tells the others.
            if not self._store.away:
                publish(self._store.expire(now), luck)
            asked, self._asked = self._asked, []
            for link in asked:
                if not link.is_cut and not self._read(link, now, luck):
                    self._asked.append(link)
        if self._recheck and now >= self._rechecked_at + RECHECK_S and self.hub.connections:
            self._rechecked_at = now
            self._read(None, now, luck)
        arrived = [read for read in self._reads if read.due <= now]
        if arrived:
            self._reads = [read for read in self._reads if read.due > now]
            for read in arrived:
                self._answer(read)
        self._turn(now)
        for connection, frame in due_frames([link.connection for link in self.links], now):
            if frame is not None and Sabotage.NO_TRAILING_FRAME not in self._sabotage:
                self._write(connection, frame, now)
        if any(link.is_cut or link.connection.closed for link in self.links):
            self._bury(now)

    def _read(self, link: Link | None, now: float, luck: Luck) -> bool:
        grant = link.connection.grant if link else None
        topics = grant.topics if grant else self.hub.topics
        try:
            found = self._store.read(topics)
        except Away:
            return False
        self._reads.append(Read(now + luck.between(0.0, 0.5), link, found))
        return True

    def _answer(self, read: Read) -> None:
        if read.link is None:
            self.hub.receive(read.found, now=self._now)
        elif not read.link.is_cut:
            if Sabotage.SNAPSHOT_FIRST in self._sabotage:
                self.hub.attach(read.link.connection)
            read.link.connection.catch_up(read.found)
            self.hub.wake(read.link.connection)

    def acknowledged(self, link: Link, n: int, now: float) -> None:
        """The page has handled all frames up to number `n`."""
        link.connection.ack(n, now=now)
        if link.connection.can_send:
            self.hub.wake(link.connection)

    def _turn(self, now: float) -> None:
        for frame, connections in self.hub.take(now):
            for connection in connections if frame else ():
                self._write(connection, frame, now)

    def _write(self, connection: Connection, frame: str, now: float) -> None:
        link: Link = connection.outlet
        if not link.is_cut:
            link.wire.append((now + 0.05, frame))

    def _bury(self, now: float) -> None:
        for link in self.links:
            if link.connection.closed is not None and not link.is_cut:
                self._ledger.happened[f"closed, {link.connection.closed.word}"] += 1
                link.wire.append((now + 0.05, link.connection.bye()))
            if link.connection.closed is not None or link.is_cut:
                self.hub.detach(link.connection)
        self.links = [link for link in self.links if not (link.connection.closed or link.is_cut)]
