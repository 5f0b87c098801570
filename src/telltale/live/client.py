"""One connected client: joins its connection, its outlet and the driver.

Satisfies `transports.base.Client`. Everything happens on the event loop; nothing here blocks. Made by `driver.py`
alone, which satisfies `ClientHost`.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol

from telltale.core import reasons
from telltale.core.addresses import counted_address, is_public
from telltale.core.connection import Connection
from telltale.core.policy import Bearer, Grant, Phase
from telltale.core.reasons import Reason
from telltale.core.snapshot import Order
from telltale.core.wire import Envelope
from telltale.live import tickets
from telltale.transports.base import Outlet


class ClientHost(Protocol):
    """What a client needs from its driver."""

    def now(self) -> float:
        """Return the time of the store's clock."""

    def monotonic(self) -> float:
        """Return the time of the connection's clock, which is never set."""

    def is_full_for(self, person: str) -> bool:
        """Whether this person has as many connections as one person may have."""

    def attach(self, client: "ConnectedClient") -> None:
        """Send the client what its ticket covers, from now on."""

    def detach(self, connection: Connection) -> None:
        """Send it nothing more."""

    def remove(self, client: "ConnectedClient") -> None:
        """Forget a client that has disconnected."""

    def count_closed(self, reason: Reason) -> None:
        """Count a connection that was closed for this reason."""

    def read_for(
        self, topics: frozenset[str], on_read: Callable[[list[Envelope]], None], is_gone: Callable[[], bool]
    ) -> None:
        """Read the store for `topics` soon and call `on_read`; a failed read is repeated until `is_gone`."""

    def has_signed_out(self, grant: Grant) -> bool:
        """Whether the session of the ticket has ended."""

    def is_check_due(self, grant: Grant) -> bool:
        """Whether the rights of the bearer have to be checked before anything is sent."""

    def check_rights(self, bearer: Bearer, on_checked: Callable[[bool], None]) -> None:
        """Check soon whether the rights of `bearer` have ended, and call `on_checked` with the verdict."""

    def wake(self, connection: Connection) -> None:
        """Something waits for this connection and may be sent."""


class ConnectedClient:
    """One client, from its connect to its disconnect."""

    __slots__ = ("_has_ended", "_host", "address", "connection", "is_counted")

    def __init__(self, host: ClientHost, connection: Connection, outlet: Outlet, address: str) -> None:
        self.connection = connection
        self.address = counted_address(address)
        """The address by which its connections are counted."""
        self.is_counted = False
        """Whether the driver counts it among the connections of its person."""
        self._host = host
        self._has_ended = False
        connection.outlet, connection.form, connection.write = outlet, outlet.form, outlet.write

    @property
    def person(self) -> str:
        """The topic of the person whose connection it is.

        If the ticket names no person: the client's network address; empty if that is not public, or without a ticket.
        """
        return self._person_of(self.connection.grant) if self.connection.grant is not None else ""

    def _person_of(self, grant: Grant) -> str:
        return grant.follower or (self.address if is_public(self.address) else "")

    @property
    def topics(self) -> frozenset[str]:
        """The topics of its ticket; none before it has one."""
        return self.connection.grant.topics if self.connection.grant is not None else frozenset()

    def admit(self, ticket: object, have: Mapping[str, Order] | None = None, seen: tuple[str, ...] = ()) -> None:
        """See the contract. The ticket is verified on return; a check of its user and the snapshots come later."""
        host, connection, previous = self._host, self.connection, self.connection.grant
        try:
            grant = tickets.verify(ticket, now=host.now())
        except tickets.TicketRefused as refusal:
            return self.close(refusal.reason)
        if host.has_signed_out(grant):
            return self.close(reasons.EXPIRED)
        if previous is None and host.is_full_for(self._person_of(grant)):
            return self.close(reasons.LIMIT)
        if previous is not None and previous.follower != grant.follower:
            # A connection belongs to one person; after signing in as another, a page opens another connection.
            return self.close(reasons.FORBIDDEN)
        connection.admit(grant, have=have, seen=seen, now=host.monotonic())
        if connection.closed is not None:
            return self.end()
        # Attach first, read second: the order of snapshots sorts out the overlap.
        host.attach(self)
        new_topics = grant.topics - (previous.topics if previous is not None else frozenset())
        if grant.bearer is not None and host.is_check_due(grant):
            host.check_rights(grant.bearer, partial(self._on_checked, new_topics))
        else:
            self._read(new_topics)

    def _on_checked(self, new_topics: frozenset[str], has_ended: bool) -> None:
        """Nothing is sent before the snapshots, so a ticket whose rights have ended shows nothing."""
        if has_ended:
            self.close(reasons.EXPIRED)
        elif not self._is_closed():
            self._read(new_topics)

    def _read(self, new_topics: frozenset[str]) -> None:
        if new_topics or self.connection.phase is Phase.ATTACHED:
            self._host.read_for(new_topics, self.catch_up, self._is_closed)

    def catch_up(self, envelopes: Iterable[Envelope]) -> None:
        """Send what the store knows of the client's new topics."""
        self.connection.catch_up(envelopes)
        self.end()
        self._wake()

    def ack(self, n: int) -> None:
        """See the contract."""
        self.connection.ack(n, now=self._host.monotonic())
        self._wake()

    def block(self) -> None:
        """See the contract."""
        self.connection.block(self._host.monotonic())

    def unblock(self) -> None:
        """See the contract."""
        self.connection.unblock(self._host.monotonic())
        self._wake()

    def close(self, reason: Reason, *, within_s: float | None = None) -> None:
        """See the contract."""
        self.connection.close(reason, within_s=within_s)
        self.end()

    def end(self) -> None:
        """If the connection was closed, call the outlet's `end`, once."""
        if self._has_ended or self.connection.closed is None:
            return
        self._has_ended = True
        self._host.detach(self.connection)
        self._host.count_closed(self.connection.closed)
        self.connection.outlet.end()

    def leave(self) -> None:
        """See the contract."""
        # Closed, so that no frame on its way is written to it; the reason is neither sent nor counted.
        self.connection.close(reasons.SILENT)
        self._has_ended = True
        self._host.remove(self)

    def _is_closed(self) -> bool:
        return self.connection.closed is not None

    def _wake(self) -> None:
        if self.connection.can_send:
            self._host.wake(self.connection)
