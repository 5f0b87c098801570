"""The requests of the HTTP transports over any ASGI server.

A client that is refused gets status 200 and the closing frame of its session, because it takes any other status for a
fault of the network, and tries again. Pages of all origins may ask: what a client may do depends on signatures alone.
"""

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from telltale.pusher.app_registry import registry
from telltale.pusher.protocol.api_refusal import ApiRefusal
from telltale.pusher.protocol.close_codes import Code
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.api.body import RequestBody
from telltale.pusher.server.clients.client import BLOCKED_S
from telltale.pusher.server.clients.client_messages import MESSAGE_CHARACTERS
from telltale.pusher.server.fallback import frames
from telltale.pusher.server.fallback.addresses import Action, FallbackAddress
from telltale.pusher.server.fallback.fallback import Fallback, Source
from telltale.pusher.server.fallback.relay import OwnerGone
from telltale.pusher.server.fallback.sessions import LocalReceiver, SessionId
from telltale.pusher.server.server import PusherServer
from telltale.pusher.server.websocket import find_app
from telltale.transports.http import (
    Disconnected,
    LiveRequest,
    Receive,
    Scope,
    Send,
    respond_unless_disconnected,
)

MAX_AGE_S: Final = 7_200
"""How long a browser may remember the answer to a preflight request."""

_HEADERS: Final = [
    (b"content-type", b"text/plain; charset=utf-8"),
    # Browsers would wait for more to guess the type of the content.
    (b"x-content-type-options", b"nosniff"),
    # no-transform: a proxy that compresses also buffers, and buffered messages are late.
    (b"cache-control", b"no-store, no-transform, private"),
    (b"x-accel-buffering", b"no"),
    (b"access-control-allow-origin", b"*"),
]

_UNKNOWN: Final = "No session has this name: it was closed, or its server process is gone."

Headers = list[tuple[bytes, bytes]]


async def serve_fallback(
    scope: Scope, receive: Receive, send: Send, server: PusherServer, address: FallbackAddress
) -> None:
    """Answer one request. `address`: its parsed path."""
    if scope["method"] == "OPTIONS":
        return await _respond(send, 204, headers=_preflight_headers(scope["headers"]))
    if scope["method"] != "POST":
        return await _respond(send, 405, _error("Use POST."), [(b"allow", b"OPTIONS, POST")])
    with suppress(Disconnected):
        if address.action is Action.SEND:
            await _handle_messages(scope, receive, send, server.fallback, address)
        else:
            await _send_messages(scope, receive, send, server.fallback, address)


# Requests that receive ----------------------------------------------------------------------------


async def _send_messages(
    scope: Scope, receive: Receive, send: Send, fallback: Fallback, address: FallbackAddress
) -> None:
    source = await _source(scope, fallback, address)
    if isinstance(source, Code):
        return await _respond(send, 200, frames.OPEN + frames.closing(source))
    response = (_stream if address.action is Action.STREAM else _poll)(source, send)
    try:
        await respond_unless_disconnected(response, receive, drain=source.drain)
    finally:
        source.close()


async def _source(scope: Scope, fallback: Fallback, address: FallbackAddress) -> Source | Code:
    """Return the session that a request names, or why it can't have one."""
    session_id: SessionId = (address.key, address.session)
    session = fallback.sessions.find(session_id)
    if session is not None:
        # A closed session tells why, even if its app is gone.
        return LocalReceiver(session)
    app = await find_app(address.key, scope.get("query_string", b""), is_secure=scope.get("scheme") == "https")
    if isinstance(app, Code):
        return app
    return await fallback.source(session_id, app, LiveRequest.from_scope(scope).address)


async def _poll(source: Source, send: Send) -> None:
    try:
        batch = await source.take()
    except OwnerGone:
        return await _respond(send, 404, _error(_UNKNOWN))
    with suppress(TimeoutError):
        async with asyncio.timeout(BLOCKED_S):
            await _respond(send, 200, batch.data)


async def _stream(source: Source, send: Send) -> None:
    """Send batches until the session ends, the client has to open another stream, or it does not read."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    written, is_last = 0, False
    with suppress(OwnerGone):
        while written <= frames.STREAM_CHARACTERS and not is_last:
            batch = await source.take()
            written, is_last = written + len(batch.data), batch.is_last
            try:
                async with asyncio.timeout(BLOCKED_S):
                    await send({"type": "http.response.body", "body": batch.data, "more_body": True})
            except TimeoutError:
                return  # Servers cut a response that is not complete.
    if written > frames.STREAM_CHARACTERS:
        # A client with a slow line has much to read before it opens another stream.
        source.close(BLOCKED_S)
    await send({"type": "http.response.body", "body": b""})


# Requests that send -------------------------------------------------------------------------------


async def _handle_messages(
    scope: Scope, receive: Receive, send: Send, fallback: Fallback, address: FallbackAddress
) -> None:
    body = RequestBody(receive, scope["headers"])
    try:
        is_known = await _is_handled(body, fallback, (address.key, address.session))
    except ApiRefusal as refusal:
        await body.discard()
        can_continue = body.is_complete or not scope.get("http_version", "1.1").startswith("1")
        headers = [] if can_continue else [(b"connection", b"close")]
        return await _respond(send, refusal.status, _error(refusal.text), headers)
    await (_respond(send, 204) if is_known else _respond(send, 404, _error(_UNKNOWN)))


async def _is_handled(body: RequestBody, fallback: Fallback, session_id: SessionId) -> bool:
    """Handle the messages of a body; False if there is no open session. Raises `ApiRefusal`."""
    session = fallback.sessions.find(session_id)
    if session is not None:
        texts = frames.read_messages(await body.read(_max_bytes(session.client.app)))
        session.send(texts)
        return session.client.is_open
    await registry().wait()
    app = registry().find_by_key(session_id[0])
    if app is None:
        await body.discard()
        return False
    content = await body.read(_max_bytes(app))
    frames.read_messages(content)
    return await fallback.send_elsewhere(session_id, content.decode())


def _max_bytes(app: PusherApp) -> int:
    """Return a bound on what is read. A message that is too long is refused on the connection; escapes lengthen it."""
    return 4 * max(MESSAGE_CHARACTERS, 8 * app.limits.event_bytes)


# Responses ----------------------------------------------------------------------------------------


def _preflight_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    wanted = [value for name, value in headers if name.lower() == b"access-control-request-headers"]
    return [
        (b"access-control-allow-methods", b"OPTIONS, POST"),
        (b"access-control-allow-headers", wanted[0] if wanted else b"Content-Type"),
        (b"access-control-max-age", str(MAX_AGE_S).encode()),
    ]


def _error(text: str) -> bytes:
    return json.dumps({"error": text}).encode()


async def _respond(send: Send, status: int, body: bytes = b"", headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    length = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
    with suppress(OSError):  # It disconnected while it was written to.
        await send({"type": "http.response.start", "status": status, "headers": [*_HEADERS, *length, *headers]})
        await send({"type": "http.response.body", "body": body})
