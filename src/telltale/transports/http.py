"""HTTP requests and responses over ASGI: what the transports, the live server and the application share."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Self

from telltale.core.wire import INBOUND_BYTES, Malformed

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

FLUSH_S: Final = 0.1
"""Time for a server that is shutting down to send the last message, or the end of a response."""

BODY_S: Final = 9.0
"""Time for a client to send the body of its request, which is small. Less than `ConnectionPolicy.admit_s`, after which
it would count as a client without a ticket."""

HEAD_BYTES: Final = 65_536
"""Upper bound of a request's headers, with its address. A ticket has up to 16 KiB, and proxies pass on 32 KiB."""

HEAD_LINES: Final = 100
"""The most headers that a request may have."""

RawHeaders = Iterable[tuple[bytes, bytes]]
"""Names, in any case, and values, as servers parse them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRequest:
    """A request for the live address, parsed once. A missing header is an empty string."""

    address: str = ""
    """The client's network address, as its server knows it; empty behind a Unix socket."""
    host: str = ""
    forwarded_host: str = ""
    """`X-Forwarded-Host`."""
    forwarded_for: str = ""
    """`X-Forwarded-For`; several lines of it are joined by commas."""
    origin: str = ""
    accept: str = ""
    ticket: str = ""
    """The bearer token of `Authorization`, not verified."""
    forwarded_proto: str = ""
    """`X-Forwarded-Proto`."""
    is_secure: bool = False
    """Whether the server itself received the request over TLS. Behind a proxy it rarely did."""

    @classmethod
    def from_headers(cls, headers: RawHeaders, *, address: str = "", is_secure: bool = False) -> Self:
        """Parse the headers of a request; of a repeated one the first line counts. Two origins are no site's."""
        texts: dict[bytes, str] = {}
        forwarded_for = []
        for name, value in headers:
            text = value.decode("latin-1")
            if name.lower() == b"origin" and b"origin" in texts:
                text = texts[b"origin"] = f"{texts[b'origin']}, {text}"
            texts.setdefault(name.lower(), text)
            if name.lower() == b"x-forwarded-for":
                # Some proxies add a line of their own: the client's line must not hide it.
                forwarded_for.append(text)
        return cls(
            address=address,
            host=texts.get(b"host", ""),
            forwarded_host=texts.get(b"x-forwarded-host", ""),
            forwarded_for=",".join(forwarded_for),
            origin=texts.get(b"origin", ""),
            accept=texts.get(b"accept", ""),
            ticket=bearer_token(texts.get(b"authorization", "")),
            forwarded_proto=texts.get(b"x-forwarded-proto", ""),
            is_secure=is_secure,
        )

    @classmethod
    def from_scope(cls, scope: Scope) -> Self:
        """Parse an ASGI scope of type `http` or `websocket`."""
        client = scope.get("client")
        is_secure = scope.get("scheme") in {"https", "wss"}
        return cls.from_headers(scope["headers"], address=str(client[0]) if client else "", is_secure=is_secure)

    @property
    def wants_event_stream(self) -> bool:
        """Whether the client accepts server-sent events."""
        return "text/event-stream" in self.accept


def bearer_token(authorization: str) -> str:
    """Return the ticket in an `Authorization` header; empty if there is none."""
    scheme, _, ticket = authorization.partition(" ")
    return ticket.strip() if scheme.lower() == "bearer" else ""


def is_head_too_large(headers: RawHeaders) -> bool:
    """Whether a request has more headers than allowed, or larger ones: some servers have no limit of their own."""
    sizes = [len(name) + len(value) for name, value in headers]
    return len(sizes) > HEAD_LINES or sum(sizes) > HEAD_BYTES


class Disconnected(Exception):
    """The client disconnected before its request was complete."""


async def read_body(receive: Receive, *, limit: int = INBOUND_BYTES) -> bytes:
    """Return the body of a request.

    Raises `Malformed` beyond `limit` bytes, `Disconnected` if the client leaves, `TimeoutError` after `BODY_S`.
    """
    body = bytearray()
    async with asyncio.timeout(BODY_S):
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise Disconnected
            body += event.get("body", b"")
            if len(body) > limit:
                raise Malformed(f"The body of a request has more than {limit:,} bytes; send at most that.")
            if not event.get("more_body", False):
                return bytes(body)


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the HTTP client has disconnected; anything else it sends is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def respond_unless_disconnected(
    response: Coroutine[Any, Any, None], receive: Receive, *, drain: Callable[[], None] | None = None
) -> None:
    """Send a response, which may take long; stop when the client disconnects.

    `drain` is called if the server cancels the request because it shuts down; the response then has a moment to end.
    """
    responding = asyncio.ensure_future(response)
    disconnect = asyncio.ensure_future(wait_for_disconnect(receive))
    try:
        try:
            await asyncio.wait({responding, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if drain is not None:
                drain()
                await asyncio.wait({responding}, timeout=FLUSH_S)
            raise
        if responding.done():
            responding.result()
    except OSError:
        pass  # It disconnected while it was written to.
    finally:
        responding.cancel()
        disconnect.cancel()
        await asyncio.gather(responding, disconnect, return_exceptions=True)


async def send_response(send: Send, status: int, text: str, *, content_type: str = "application/json") -> None:
    """Send a complete HTTP response that no cache may store."""
    body = text.encode()
    headers = [
        (b"content-type", f"{content_type}; charset=utf-8".encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store, private"),
        (b"vary", b"Accept"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
