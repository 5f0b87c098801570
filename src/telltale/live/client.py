"""One client's place in the driver: its connection and its outlet.

Satisfies `transports.base.Follower`. Everything happens on the event loop; nothing here blocks. Made by
`driver.py` alone.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.core.policy import Phase
from telltale.core.reasons import Reason
from telltale.core.snapshot import Order
from telltale.core.wire import Envelope
from telltale.live import tickets
from telltale.transports.base import Outlet

if TYPE_CHECKING:
    from telltale.live.driver import Driver


class ConnectedClient:
    """One client, from the moment it comes until it leaves."""

    __slots__ = ("_driver", "_is_ended", "address", "connection", "is_counted")

    def __init__(self, driver: "Driver", connection: Connection, outlet: Outlet, address: str) -> None:
        self.connection = connection
        self.address = address
        self.is_counted = False
        """Whether it is among the connections of its person."""
        self._driver = driver
        self._is_ended = False
        connection.outlet, connection.form, connection.write = outlet, outlet.form, outlet.write

    @property
    def person(self) -> str:
        """Whose connection it is; empty for nobody in particular."""
        return self.connection.grant.follower if self.connection.grant is not None else ""

    def admit(self, ticket: object, have: Mapping[str, Order] | None = None, seen: tuple[str, ...] = ()) -> None:
        """See the contract. The verdict is known when it returns, the snapshot comes later."""
        driver, connection, before = self._driver, self.connection, self.connection.grant
        try:
            grant = tickets.verify(ticket, now=driver.now())
        except tickets.Refused as refusal:
            return self.close(refusal.reason)
        if before is None and driver.is_full_for(grant.follower):
            return self.close(reasons.LIMIT)
        if before is not None and before.follower != grant.follower:
            # A socket belongs to one person: whoever signs in as another opens another.
            return self.close(reasons.FORBIDDEN)
        connection.admit(grant, have=have, seen=seen, now=driver.now())
        if connection.closed is not None:
            return self.end()
        # Attach first, read second: the snapshots' order sorts out the overlap.
        driver.attach(self)
        new = grant.topics - (before.topics if before is not None else frozenset())
        if new or connection.phase is Phase.ATTACHED:
            driver.read_for(self, new)

    def catch_up(self, envelopes: Iterable[Envelope]) -> None:
        """What the store knows of what is new to it."""
        self.connection.catch_up(envelopes)
        self.end()
        self._go_on()

    def heard(self, n: int) -> None:
        """See the contract."""
        self.connection.ack(n, now=self._driver.now())
        self._go_on()

    def block(self) -> None:
        """See the contract."""
        self.connection.block(self._driver.now())

    def unblock(self) -> None:
        """See the contract."""
        self.connection.unblock(self._driver.now())
        self._go_on()

    def close(self, reason: Reason, *, within_s: float | None = None) -> None:
        """See the contract."""
        self.connection.close(reason, within_s=within_s)
        self.end()

    def end(self) -> None:
        """If its connection was closed, have its transport say so, once."""
        if self._is_ended or self.connection.closed is None:
            return
        self._is_ended = True
        self._driver.hub.detach(self.connection)
        self._driver.closed(self.connection.closed)
        self.connection.outlet.end()

    def leave(self) -> None:
        """See the contract."""
        # So that nothing is written to it that is on its way; nobody hears the reason.
        self.connection.close(reasons.SILENT)
        self._is_ended = True
        self._driver.leave(self)

    def _go_on(self) -> None:
        if self.connection.can_go_on:
            self._driver.wake(self.connection)
