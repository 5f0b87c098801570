"""Server-sent events: the cheapest way to hear, through any proxy that does not hold answers back.

Reach: every browser, by `fetch` (an EventSource can't send the ticket). Cost: one open request a page, of
the six that HTTP/1.1 gives a host. Limits: no way back, so no acknowledgements: a client that does not read
is held up by its server's socket, and conflated meanwhile.
"""

import asyncio
from typing import Final

from telltale.core import reasons
from telltale.core.connection import Terms
from telltale.core.wire import Malformed
from telltale.transports.base import (
    Disconnected,
    Follower,
    Hello,
    Receive,
    Scope,
    Send,
    Server,
    bearer,
    gone,
    header,
    read_body,
    refuse,
)

TERMS: Final = Terms(credit=None)

HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # no-transform: a proxy that compresses also collects, and what is collected is late.
    (b"cache-control", b"no-store, no-transform, private"),
    (b"vary", b"Accept"),
    (b"x-accel-buffering", b"no"),
]


async def sse(scope: Scope, receive: Receive, send: Send, server: Server) -> None:
    """Serve one stream; satisfies `Transport`."""
    follower = server.open(TERMS)
    try:
        try:
            hello = Hello.from_body(await read_body(receive))
        except Malformed:
            follower.close(reasons.MALFORMED)
        except Disconnected:
            return
        else:
            follower.admit(bearer(header(scope, b"authorization")), hello.have, hello.seen)
        if follower.connection.closed:
            return await refuse(send, follower.connection)
        await _stream(follower, receive, send)
    finally:
        server.leave(follower)


async def _stream(follower: Follower, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    # No server tells a sender that the client has gone; all tell a listener.
    writing = asyncio.ensure_future(_write(follower, send))
    leaving = asyncio.ensure_future(gone(receive))
    try:
        await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if writing.done():
            writing.result()
    except OSError:
        pass  # It went while it was written to.
    finally:
        for one in (writing, leaving):
            one.cancel()
        await asyncio.gather(writing, leaving, return_exceptions=True)


async def _write(follower: Follower, send: Send) -> None:
    # A first byte at once: some proxies hold the headers back until there is one.
    await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
    async for frame in follower.frames():
        await send({"type": "http.response.body", "body": f"data: {frame}\n\n".encode(), "more_body": True})
    bye = f"data: {follower.connection.farewell()}\n\n".encode()
    await send({"type": "http.response.body", "body": bye, "more_body": False})
