"""Server-sent events: the cheapest transport, through any proxy that does not buffer responses.

Reach: every browser, by `fetch` (an EventSource can't send the ticket). Cost: one open request, of the six that
HTTP/1.1 gives a host; the tabs of a person share it. Limits: the client sends nothing after its request, so there are
no acknowledgements: a client that does not read fills its server's socket buffer, and meanwhile only the newest
snapshots wait for it.
"""

import re
from collections.abc import Iterable
from typing import Final

from telltale.core.connection import Connection
from telltale.core.policy import ConnectionPolicy
from telltale.transports.asgi import AsgiOutlet, Message
from telltale.transports.base import TransportHost, admit_or_refuse
from telltale.transports.http import Disconnected, LiveRequest, Receive, Send

POLICY: Final = ConnectionPolicy(credit=None)

HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # no-transform: a proxy that compresses also buffers, and buffered events are late.
    (b"cache-control", b"no-store, no-transform, private"),
    (b"vary", b"Accept"),
    (b"x-accel-buffering", b"no"),
]

OPENING: Final = ":\n\n"
"""A first byte at once: some proxies hold the headers back until there is one."""


_LINE_END: Final = re.compile(r"\r\n|\n|\r")


def event_bytes(text: str) -> bytes:
    """Return a message as one event of the stream, whatever lines it has."""
    if "\n" not in text and "\r" not in text:
        return f"data: {text}\n\n".encode()
    # A line of its own for each: the rest of a line must not be read as a field of the stream, or as its own event.
    return "".join([*(f"data: {line}\n" for line in _LINE_END.split(text)), "\n"]).encode()


async def sse(request: LiveRequest, receive: Receive, send: Send, host: TransportHost) -> None:
    """Serve one stream; satisfies `Transport`."""
    outlet = AsgiOutlet(send, _body_part, _last_messages)
    client = host.open(POLICY, outlet, request.address)
    try:
        client.block()  # Nothing may go before the headers.
        if await admit_or_refuse(client, request, receive, send) is None:
            return
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": OPENING.encode(), "more_body": True})
        outlet.open(client)
        client.unblock()
        # Servers report a disconnect to a coroutine that receives, not to one that sends.
        while (await outlet.listen(receive))["type"] == "http.request":
            pass
    except (Disconnected, OSError):
        pass  # It disconnected while it was read from or written to.
    finally:
        client.leave()
        outlet.close()


def _body_part(text: str) -> Message:
    return {"type": "http.response.body", "body": event_bytes(text), "more_body": True}


def _last_messages(connection: Connection) -> Iterable[Message]:
    yield {**_body_part(connection.bye()), "more_body": False}
