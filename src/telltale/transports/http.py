"""ASGI requests and answers: the little that transports, the live server and the application share."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from telltale.core.wire import INBOUND_BYTES, Malformed

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def header(scope: Scope, name: bytes) -> str:
    """A request's header, by its name in lower case; empty if it is not there."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name), "")


def bearer(authorization: str) -> str:
    """The ticket in an `Authorization` header; empty if there is none."""
    scheme, _, ticket = authorization.partition(" ")
    return ticket.strip() if scheme.lower() == "bearer" else ""


class Disconnected(Exception):
    """The client has gone before it had said all."""


async def read_body(receive: Receive, *, limit: int = INBOUND_BYTES) -> bytes:
    """A request's body; raises `Malformed` beyond `limit` bytes, `Disconnected` if the client goes."""
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Disconnected
        body += event.get("body", b"")
        if len(body) > limit:
            raise Malformed(f"A request's body has more than {limit:,} bytes.")
        if not event.get("more_body", False):
            return bytes(body)


async def gone(receive: Receive) -> None:
    """Returns when an HTTP client has gone; what else it says is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass


def address_of(scope: Scope) -> str:
    """The client's, as its server knows it; empty behind a Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client else ""


async def answer(send: Send, status: int, text: str, *, kind: str = "application/json") -> None:
    """A whole HTTP answer, kept by nobody."""
    body = text.encode()
    headers = [
        (b"content-type", f"{kind}; charset=utf-8".encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store, private"),
        (b"vary", b"Accept"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
