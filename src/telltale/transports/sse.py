"""Server-sent events: the cheapest way to hear, through any proxy that does not hold answers back.

Reach: every browser, by `fetch` (an EventSource can't send the ticket). Cost: one open request a page, of
the six that HTTP/1.1 gives a host. Limits: no way back, so no acknowledgements: a client that does not read
is held up by its server's socket, and conflated meanwhile.
"""

from collections.abc import Iterable
from typing import Final

from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.core.policy import ConnectionPolicy
from telltale.core.wire import Malformed
from telltale.transports.asgi import AsgiOutlet, Message
from telltale.transports.base import Hello, Server, refuse
from telltale.transports.http import Disconnected, Receive, Scope, Send, address_of, bearer, header, read_body

POLICY: Final = ConnectionPolicy(credit=None)

HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # no-transform: a proxy that compresses also collects, and what is collected is late.
    (b"cache-control", b"no-store, no-transform, private"),
    (b"vary", b"Accept"),
    (b"x-accel-buffering", b"no"),
]

OPENING: Final = ":\n\n"
"""A first byte at once: some proxies hold the headers back until there is one."""


def event_of(text: str) -> bytes:
    """A message as one event of the stream."""
    return f"data: {text}\n\n".encode()


async def sse(scope: Scope, receive: Receive, send: Send, server: Server) -> None:
    """Serve one stream; satisfies `Transport`."""
    outlet = AsgiOutlet(send, _part, _goodbye)
    follower = server.open(POLICY, outlet, address_of(scope))
    try:
        follower.block()  # Nothing may go before the headers.
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
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": OPENING.encode(), "more_body": True})
        outlet.open(follower)
        follower.unblock()
        # No server tells a sender that the client has gone; all tell a listener.
        while (await outlet.listen(receive))["type"] == "http.request":
            pass
    except OSError:
        pass  # It went while it was written to.
    finally:
        follower.leave()
        outlet.close()


def _part(text: str) -> Message:
    return {"type": "http.response.body", "body": event_of(text), "more_body": True}


def _goodbye(connection: Connection) -> Iterable[Message]:
    yield {**_part(connection.farewell()), "more_body": False}
