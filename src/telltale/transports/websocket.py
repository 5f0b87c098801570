"""WebSocket: the first choice of a browser. The ticket comes in the first message, acknowledgements after it.

Reach: whatever lets an upgrade through. Cost: one socket a page. Limits: what a client says is bounded here
(size, pace, patience), because servers differ; pings and pongs are the server's own and do not come here. A
handshake from another site's page is refused, though no cookie opens anything here: defence in depth costs
one comparison.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.core.policy import ConnectionPolicy
from telltale.core.reasons import Reason
from telltale.core.wire import VERSION, Malformed, decode
from telltale.transports.asgi import AsgiOutlet, Message
from telltale.transports.base import Follower, Hello, Server
from telltale.transports.http import Receive, Scope, Send, address_of

POLICY: Final = ConnectionPolicy()

RATE: Final = 20.0
"""Messages and control frames a second that a client may send on the long run."""
BURST: Final = 60.0
"""Messages and control frames that it may send at once."""


@dataclass(slots=True)
class Allowance:
    """How much a client may still say: a bucket of `BURST` that fills by `RATE` a second."""

    at: float
    left: float = BURST

    def spend(self, now: float) -> bool:
        """One message or control frame; False if that is one too many."""
        self.left = min(BURST, self.left + max(0.0, now - self.at) * RATE)
        self.at = now
        self.left -= 1
        return self.left >= 0


async def websocket(scope: Scope, receive: Receive, send: Send, server: Server) -> None:
    """Serve one socket; satisfies `Transport`. The caller has checked where it comes from."""
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    outlet = AsgiOutlet(send, _message, _goodbye)
    follower = server.open(POLICY, outlet, address_of(scope))
    outlet.open(follower)
    listener = Listener(follower, server)
    try:
        while (event := await outlet.listen(receive))["type"] == "websocket.receive":
            if not listener.takes():
                break  # What else has come waits in the server, which drops it now: others get their turn.
            listener.hear(event.get("text") or event.get("bytes") or "")
    finally:
        follower.leave()
        outlet.close()


class Listener:
    """What a client says, on any kind of socket: bounded in size and pace, and done as it comes."""

    __slots__ = ("_allowance", "_follower", "_server")

    def __init__(self, follower: Follower, server: Server) -> None:
        self._follower, self._server = follower, server
        self._allowance = Allowance(at=server.now())

    def takes(self) -> bool:
        """Count one message or control frame; False, and the end of the connection, if that is one too many."""
        if self._allowance.spend(self._server.now()):
            return True
        self._follower.close(reasons.RATE)
        return False

    def hear(self, raw: str | bytes) -> None:
        """One message, after `takes`. One that is wrong ends the connection."""
        if self._follower.connection.closed is not None:
            return
        reason = self._do(raw)
        if reason is not None:
            self._follower.close(reason)

    def _do(self, raw: str | bytes) -> Reason | None:
        """What one message asks; why the connection must end, if it must."""
        try:
            message = decode(raw)
            if self._follower.connection.grant is None:
                return self._greet(message)
            match message:
                case {"type": "ack", "n": int(n)}:
                    self._follower.heard(n)
                case {"type": "ticket", "ticket": ticket}:
                    self._follower.admit(ticket)
                case _:
                    return reasons.MALFORMED
        except Malformed:
            return reasons.MALFORMED
        return None

    def _greet(self, message: Mapping[str, Any]) -> Reason | None:
        if message.get("type") != "hello":
            return reasons.MALFORMED
        if message.get("v") != VERSION:
            return reasons.VERSION
        hello = Hello.read(message)
        self._follower.admit(message.get("ticket"), hello.have, hello.seen)
        return None


def _message(text: str) -> Message:
    return {"type": "websocket.send", "text": text}


def _goodbye(connection: Connection) -> Iterable[Message]:
    reason = connection.closed
    assert reason is not None  # noqa: S101 (that is why it is called)
    yield _message(connection.farewell())
    yield {"type": "websocket.close", "code": reason.code, "reason": reason.word}
