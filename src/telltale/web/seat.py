"""One client's place in the driver: its connection, its outlet, and what is still to be read for it.

Satisfies `transports.base.Follower`. Everything happens on the event loop; nothing here blocks. Made by
`driver.py` alone.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from telltale.core import reasons
from telltale.core.connection import Connection, Phase
from telltale.core.reasons import Reason
from telltale.core.snapshot import Order
from telltale.transports.base import Outlet
from telltale.web import tickets

if TYPE_CHECKING:
    from telltale.web.driver import Driver

RETRY_READ_S: Final = 1.0
"""After a read that failed, for a client that waits for its snapshot."""


class Seat:
    """One client, from the moment it comes until it leaves."""

    __slots__ = ("_driver", "_is_ended", "_reading", "_unread", "address", "connection", "is_counted")

    def __init__(self, driver: "Driver", connection: Connection, outlet: Outlet, address: str) -> None:
        self.connection = connection
        self.address = address
        self.is_counted = False
        """Whether it is among the connections of its person."""
        self._driver = driver
        self._is_ended = False
        self._unread: list[frozenset[str]] = []
        self._reading: asyncio.Task[None] | None = None
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
            self._read(new)

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
        if self._reading is not None:
            self._reading.cancel()
        self._driver.leave(self)

    def _go_on(self) -> None:
        if self.connection.can_go_on:
            self._driver.wake(self.connection)

    def _read(self, topics: frozenset[str]) -> None:
        """Have these read; a client that renews and renews has one read under way, never a queue of them."""
        self._unread.append(topics)
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._catch_up())

    async def _catch_up(self) -> None:
        """Read what is new to it, and try again for as long as the client is waited for."""
        connection = self.connection
        while self._unread and connection.closed is None:
            topics: frozenset[str] = frozenset().union(*self._unread)
            self._unread.clear()
            envelopes = await self._driver.read(topics)
            if envelopes is None:
                self._unread.append(topics)
                await asyncio.sleep(RETRY_READ_S)
                continue
            connection.catch_up(envelopes)
            self.end()
            self._go_on()
        self._reading = None
