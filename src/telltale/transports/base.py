"""The contract of transports: how messages reach a browser.

A transport owns the line to one client and nothing else. Its `TransportHost` (`live/driver.py`) decides what is
followed and when the store is read, the `Connection` what may be sent when. To write a transport, satisfy
`Transport` and pass `telltale.testing.transports.TransportContract`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.core.policy import ConnectionPolicy
from telltale.core.reasons import Reason
from telltale.core.snapshot import Order
from telltale.core.wire import Malformed, decode
from telltale.transports.http import LiveRequest, Receive, Send, read_body, send_response

MAX_KNOWN: Final = 1_000
"""Tasks, and notices, that a client may list as shown already."""


class Outlet(Protocol):
    """Writes to one client. The driver calls it on the event loop, and it never blocks the loop."""

    @property
    def form(self) -> Callable[[str], Any]:
        """Turns the text of a message into what `write` takes; called once for all outlets that share it."""

    @property
    def write(self) -> Callable[[Any], object]:
        """Sends a formed message, or keeps it and blocks the client until it is sent. Harmless after a disconnect."""

    def end(self) -> None:
        """The connection was closed: send `bye`, if the line still takes it, and end the line."""


class Client(Protocol):
    """One client, as its transport uses it. All methods are called on the event loop and return at once."""

    connection: Connection

    def admit(self, ticket: object, have: Mapping[str, Order] | None = None, seen: tuple[str, ...] = ()) -> None:
        """Verify a ticket, attach the client, and have its snapshots read, which are written to the outlet later.

        A second call renews the ticket. A ticket that is not accepted closes the connection.
        """

    def ack(self, n: int) -> None:
        """The client has handled all frames up to number `n`."""

    def block(self) -> None:
        """The line takes nothing more: write nothing until `unblock`. If that takes too long, it is closed."""

    def unblock(self) -> None:
        """The line takes more."""

    def close(self, reason: Reason, *, within_s: float | None = None) -> None:
        """Close the connection and call the outlet's `end`, once. The first reason stands.

        `within_s`: the seconds over which all clients that are closed now should return.
        """

    def leave(self) -> None:
        """The client has disconnected, and nothing more is written. Always call it; harmless when repeated."""


class TransportHost(Protocol):
    """What a transport needs from the web process; lives on one event loop."""

    def now(self) -> float:
        """Return the time of the store's clock, without a query."""

    def open(self, policy: ConnectionPolicy, outlet: Outlet, address: str = "") -> Client:
        """Return a new client at this network address. It may be closed already: then `end` was called."""


class Transport(Protocol):
    """One way for messages to reach a client."""

    async def __call__(self, request: LiveRequest, receive: Receive, send: Send, host: TransportHost) -> None:
        """Serve one client until it disconnects or is closed. Returns soon after a disconnect event.

        Sends only what is written to its outlet, in that order; holds no database connection; keeps calling
        `receive`, so that a client that sends much fills no memory. Not promised: that a frame has arrived.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first message of a client: what it shows already."""

    have: dict[str, Order]
    """The order of the newest snapshot that the client shows, by task."""
    seen: tuple[str, ...] = ()
    """The ids of the notices that the client has."""
    wait_s: float | None = None
    """Polling only: the longest wait for an answer; None: as long as the server allows."""

    @classmethod
    def read(cls, message: Mapping[str, Any]) -> "Hello":
        """Read a decoded message; raises `Malformed`."""
        have, seen, wait_s = message.get("have") or {}, message.get("seen") or [], message.get("wait_s")
        if not isinstance(have, dict) or not isinstance(seen, list) or max(len(have), len(seen)) > MAX_KNOWN:
            raise Malformed(f"“have” is an object and “seen” a list, of at most {MAX_KNOWN:,} entries each.")
        if wait_s is not None and (isinstance(wait_s, bool) or not isinstance(wait_s, int | float)):
            raise Malformed("“wait_s” is a number of seconds.")
        return cls(
            have={task: _order(order) for task, order in have.items()},
            seen=tuple(notice for notice in seen if isinstance(notice, str)),
            wait_s=wait_s,
        )

    @classmethod
    def from_body(cls, body: bytes) -> "Hello":
        """Read the body of a request, which may be empty; raises `Malformed`."""
        return cls.read(decode(body)) if body.strip() else cls(have={})


def _order(order: object) -> Order:
    match order:
        case [int(attempt), bool(ended), int(seq)]:
            return (attempt, ended, seq)
    raise Malformed("An entry of “have” is [attempt, ended, seq], such as [1, false, 12].")


def admit(client: Client, ticket: object, body: bytes) -> Hello | None:
    """Read the hello in the body of a request and admit the client; None if that closed the connection."""
    try:
        hello = Hello.from_body(body)
    except Malformed:
        client.close(reasons.MALFORMED)
        return None
    client.admit(ticket, hello.have, hello.seen)
    return hello if client.connection.closed is None else None


async def admit_or_refuse(client: Client, request: LiveRequest, receive: Receive, send: Send) -> Hello | None:
    """Admit the client by its request, or send the reason why not and return None. Raises `Disconnected`."""
    try:
        hello = admit(client, request.ticket, await read_body(receive))
    except Malformed:
        client.close(reasons.MALFORMED)
        hello = None
    except TimeoutError:
        client.close(reasons.SILENT)
        hello = None
    if hello is None:
        await send_refusal(send, client.connection)
    return hello


_STATUS: Final = {
    reasons.DRAIN: 503,
    reasons.LIMIT: 429,
    reasons.RATE: 429,
    reasons.NO_TICKET: 401,
    reasons.EXPIRED: 401,
    reasons.FORBIDDEN: 403,
    reasons.RESYNC: 503,
    reasons.SILENT: 408,
}


def http_status(reason: Reason) -> int:
    """Return the HTTP status of a refusal."""
    return _STATUS.get(reason, 400)


async def send_refusal(send: Send, connection: Connection) -> None:
    """Send by HTTP why the connection was closed, before anything else was sent."""
    assert connection.closed is not None  # noqa: S101 (callers have closed it)
    await send_response(send, http_status(connection.closed), connection.bye())
