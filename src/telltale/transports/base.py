"""The contract of transports: how a browser hears. Each is a small driver of `core.connection` over raw ASGI.

A transport owns a client's socket and nothing else: what is followed and when it is read again belongs to the
`Server` (`live/driver.py`), what may be sent when to the `Connection`. To write one, satisfy `Transport`, and
pass tests/transports/test_contract.py.
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
from telltale.transports.http import Receive, Scope, Send, answer

HAVE: Final = 1_000
"""Tasks, and notices, that a client may name as shown already."""


class Outlet(Protocol):
    """A transport's way to its client, as the driver uses it: on the event loop, and never blocking it."""

    @property
    def form(self) -> Callable[[str], Any]:
        """Turns a message's text into what `write` takes; called once for all outlets that share it."""

    @property
    def write(self) -> Callable[[Any], object]:
        """Sends it, or keeps it and blocks the follower until it is sent. Harmless once the client has gone."""

    def end(self) -> None:
        """The connection was closed: say farewell, as far as the line still takes it, and let go of the client."""


class Follower(Protocol):
    """One client as the server knows it. All of it is called on the event loop and returns at once."""

    connection: Connection

    def admit(self, ticket: object, have: Mapping[str, Order] | None = None, seen: tuple[str, ...] = ()) -> None:
        """Verify a ticket, attach, and have the snapshot read, which is written to the outlet later.

        A second call renews. A refusal closes the connection.
        """

    def heard(self, n: int) -> None:
        """The client has handled all frames up to number `n`."""

    def block(self) -> None:
        """The line takes nothing more: write nothing until `unblock`. If that takes too long, it is closed."""

    def unblock(self) -> None:
        """The line takes more."""

    def close(self, reason: Reason, *, within_s: float | None = None) -> None:
        """End it for `reason`: the outlet's `end` is called, once. The first reason stands.

        `within_s`: over how many seconds all who end now should come back.
        """

    def leave(self) -> None:
        """The client has gone, and nothing more is written. To be called in any case; harmless when repeated."""


class Server(Protocol):
    """The web process as a transport sees it; lives on one event loop."""

    def now(self) -> float:
        """The store's clock, without asking the store."""

    def open(self, policy: ConnectionPolicy, outlet: Outlet, address: str = "") -> Follower:
        """A new client, at this address. Its follower may be closed already: then `end` was called."""


class Transport(Protocol):
    """One way for a client to hear."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send, server: Server) -> None:
        """Serve one client to its end. Returns soon after `http.disconnect` or `websocket.disconnect`.

        Sends only what is written to its outlet, in that order; holds no database connection; must drain
        `receive` so that a client that talks fills no memory. Not promised: that a frame has arrived.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a client says of itself at the beginning."""

    have: dict[str, Order]
    """The newest snapshot that it shows, by task."""
    seen: tuple[str, ...] = ()
    """The notices that it has."""
    wait_s: float | None = None
    """Polling only: how long it would wait; None: as long as the server likes."""

    @classmethod
    def read(cls, message: Mapping[str, Any]) -> "Hello":
        """From a decoded message; raises `Malformed`."""
        have, seen, wait_s = message.get("have") or {}, message.get("seen") or [], message.get("wait_s")
        if not isinstance(have, dict) or not isinstance(seen, list) or max(len(have), len(seen)) > HAVE:
            raise Malformed(f"“have” is an object and “seen” a list, of at most {HAVE:,} entries each.")
        if wait_s is not None and (isinstance(wait_s, bool) or not isinstance(wait_s, int | float)):
            raise Malformed("“wait_s” is a number of seconds.")
        return cls(
            have={task: _order(order) for task, order in have.items()},
            seen=tuple(notice for notice in seen if isinstance(notice, str)),
            wait_s=wait_s,
        )

    @classmethod
    def from_body(cls, body: bytes) -> "Hello":
        """From the body of a request, which may be empty; raises `Malformed`."""
        return cls.read(decode(body)) if body.strip() else cls(have={})


def _order(order: object) -> Order:
    match order:
        case [int(attempt), bool(ended), int(seq)]:
            return (attempt, ended, seq)
    raise Malformed("An entry of “have” is [attempt, ended, seq], such as [1, false, 12].")


STATUS: Final = {
    reasons.DRAIN: 503,
    reasons.LIMIT: 429,
    reasons.RATE: 429,
    reasons.NO_TICKET: 401,
    reasons.EXPIRED: 401,
    reasons.FORBIDDEN: 403,
    reasons.RESYNC: 503,
}
"""A refusal's HTTP status; what is not here is 400."""


async def refuse(send: Send, connection: Connection) -> None:
    """Say by HTTP why the connection was closed before anything was sent."""
    assert connection.closed is not None  # noqa: S101 (callers have closed it)
    await answer(send, STATUS.get(connection.closed, 400), connection.farewell())
