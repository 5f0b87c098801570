"""WebSocket: the first choice of a browser. The ticket comes in the first message, acknowledgements after it.

Reach: whatever lets an upgrade through. Cost: one socket a page. Limits: what a client says is bounded here
(size, pace, patience), because servers differ. A handshake from another site's page is refused, though no
cookie opens anything here: defence in depth costs one comparison.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from telltale.core import reasons
from telltale.core.connection import Terms
from telltale.core.reasons import Reason
from telltale.core.wire import VERSION, Malformed, decode
from telltale.transports.base import Follower, Hello, Receive, Scope, Send, Server

TERMS: Final = Terms()

RATE: Final = 20.0
"""Messages a second that a client may send on the long run."""
BURST: Final = 60.0
"""Messages that it may send at once."""


@dataclass(slots=True)
class Allowance:
    """How much a client may still say: a bucket of `BURST` that fills by `RATE` a second."""

    at: float
    left: float = BURST

    def spend(self, now: float) -> bool:
        """One message; False if that is one too many."""
        self.left = min(BURST, self.left + max(0.0, now - self.at) * RATE)
        self.at = now
        self.left -= 1
        return self.left >= 0


async def websocket(scope: Scope, receive: Receive, send: Send, server: Server) -> None:
    """Serve one socket; satisfies `Transport`. The caller has checked where it comes from."""
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    follower = server.open(TERMS)
    # Reading goes on while something is written: an acknowledgement may be what writing waits for.
    reading = asyncio.ensure_future(_read(follower, receive, server))
    writing = asyncio.ensure_future(_write(follower, send))
    try:
        await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            is_here = reading.result()
            if is_here:
                await writing
        if writing.done():
            writing.result()
    except OSError:
        pass  # It went while it was written to.
    finally:
        for one in (reading, writing):
            one.cancel()
        await asyncio.gather(reading, writing, return_exceptions=True)
        server.leave(follower)


async def _read(follower: Follower, receive: Receive, server: Server) -> bool:
    """Take in what the client says; whether it is still there (and the connection is to be closed)."""
    allowance = Allowance(at=server.now())
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return False
        if not allowance.spend(server.now()):
            follower.close(reasons.RATE)
            return True
        reason = _hear(follower, event.get("text") or event.get("bytes") or "", server)
        if reason is not None:
            follower.close(reason)
            return True


def _hear(follower: Follower, raw: str | bytes, server: Server) -> Reason | None:
    """Do what one message asks; why the connection must end, if it must."""
    try:
        message = decode(raw)
        if follower.connection.grant is None:
            return _greet(follower, message)
        match message:
            case {"type": "ack", "n": int(n)}:
                follower.connection.ack(n, now=server.now())
                follower.wake()
            case {"type": "ticket", "ticket": ticket}:
                follower.admit(ticket)
            case _:
                return reasons.MALFORMED
    except Malformed:
        return reasons.MALFORMED
    return None


def _greet(follower: Follower, message: Mapping[str, Any]) -> Reason | None:
    if message.get("type") != "hello":
        return reasons.MALFORMED
    if message.get("v") != VERSION:
        return reasons.VERSION
    hello = Hello.read(message)
    follower.admit(message.get("ticket"), hello.have, hello.seen)
    return None


async def _write(follower: Follower, send: Send) -> None:
    async for frame in follower.frames():
        await send({"type": "websocket.send", "text": frame})
    reason = follower.connection.closed
    assert reason is not None  # noqa: S101 (frames end when it is closed)
    await send({"type": "websocket.send", "text": follower.connection.farewell()})
    await send({"type": "websocket.close", "code": reason.code, "reason": reason.word})
