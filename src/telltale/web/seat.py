"""One client's place in the driver: its connection, what is still to be read for it, and who waits for both.

Satisfies `transports.base.Follower`. Everything happens on the event loop; nothing here blocks. Made by
`driver.py` alone.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Final

from telltale.core import reasons
from telltale.core.connection import Connection, Phase
from telltale.core.reasons import Reason
from telltale.core.snapshot import Order
from telltale.web import tickets

if TYPE_CHECKING:
    from telltale.web.driver import Driver

RETRY_READ_S: Final = 1.0
"""After a read that failed, for a client that waits for its snapshot."""

LEAST_NAP_S: Final = 0.002
"""A timer that is due is not waited for, but the loop gets its turn."""

MOST_NAP_S: Final = 3_600.0
"""Nobody sleeps longer than this without a look."""


class Seat:
    """One client, from the moment it comes until it leaves."""

    def __init__(self, driver: "Driver", connection: Connection) -> None:
        self.connection = connection
        self._driver = driver
        self._woken = asyncio.Event()
        self._unread: list[frozenset[str]] = []
        self._reading: asyncio.Task[None] | None = None

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
            return self.wake()
        # Attach first, read second: the snapshots' order sorts out the overlap.
        driver.attach(self)
        new = grant.topics - (before.topics if before is not None else frozenset())
        if new or connection.phase is Phase.ATTACHED:
            self._read(new)
        self.wake()

    async def frames(self) -> AsyncIterator[str]:
        """See the contract."""
        while True:
            frame = self.connection.take(self._driver.now())
            if frame is not None:
                yield frame
            elif self.connection.closed is not None:
                return
            else:
                await self.wait(until=float("inf"))

    async def wait(self, *, until: float) -> None:
        """See the contract. Nothing that happens between a look and this is missed."""
        if not self._woken.is_set():
            due = min(until, self.connection.wake_at or until)
            nap_s = min(MOST_NAP_S, max(LEAST_NAP_S, due - self._driver.now()))
            timer = asyncio.get_running_loop().call_later(nap_s, self._woken.set)
            try:
                await self._woken.wait()
            finally:
                timer.cancel()
        self._woken.clear()

    def wake(self) -> None:
        """See the contract."""
        self._woken.set()

    def close(self, reason: Reason) -> None:
        """See the contract."""
        self.connection.close(reason)
        self.wake()

    def left(self) -> None:
        """The client has gone: nothing is read for it any more."""
        if self._reading is not None:
            self._reading.cancel()

    def _read(self, topics: frozenset[str]) -> None:
        """Have these read; a client that renews and renews has one read under way, never a queue of them."""
        self._unread.append(topics)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._catch_up())

    async def _catch_up(self) -> None:
        """Read what is new to it, and try again for as long as the client is waited for."""
        while self._unread and self.connection.closed is None:
            topics: frozenset[str] = frozenset().union(*self._unread)
            self._unread.clear()
            envelopes = await self._driver.read(topics)
            if envelopes is None:
                self._unread.append(topics)
                await asyncio.sleep(RETRY_READ_S)
            else:
                self.connection.catch_up(envelopes)
                self.wake()
