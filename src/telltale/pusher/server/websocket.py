"""WebSocket connections of Pusher's clients over any ASGI server.

A connection that is refused is accepted first and then closed with a code: a client that is refused by an HTTP status
would try again for ever. Pings of the WebSocket protocol are answered by the ASGI server and not seen here.
"""

import asyncio
from typing import Final
from urllib.parse import parse_qs

from telltale.pusher.app_registry import registry
from telltale.pusher.protocol.close_codes import (
    APP_DISABLED,
    INVALID_VERSION,
    NO_VERSION,
    OVER_CAPACITY,
    RESTARTING_LATER,
    TLS_ONLY,
    UNKNOWN_APP,
    UNSUPPORTED_VERSION,
    Code,
)
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.clients.client import PusherClient
from telltale.pusher.server.clients.client_messages import receive as handle_message
from telltale.pusher.server.server import PusherServer
from telltale.transports.asgi import AsgiLine, Message
from telltale.transports.http import LiveRequest, Receive, Scope, Send

VERSIONS: Final = range(4, 8)
"""Of the protocol; they differ in nothing that a server does."""

TURN: Final = 50
"""Messages of one client that are handled before others have their turn."""


async def serve_websocket(scope: Scope, receive: Receive, send: Send, server: PusherServer, key: str) -> None:
    """Serve one connection to the app with this key until it ends."""
    app = await find_app(key, scope.get("query_string", b""), is_secure=scope.get("scheme") == "wss")
    if isinstance(app, Code):
        return await refuse(receive, send, app)
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    outlet = WebSocketOutlet(send)
    client = server.connect(app, outlet, address=LiveRequest.from_scope(scope).address)
    count = 0
    try:
        while (event := await outlet.listen(receive))["type"] == "websocket.receive":
            handle_message(client, event.get("text") or event.get("bytes") or "")
            count += 1
            if count % TURN == 0:
                await asyncio.sleep(0)
    finally:
        client.leave()
        outlet.close()


async def refuse(receive: Receive, send: Send, code: Code) -> None:
    """Accept the connection and close it with this code."""
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": code.number, "reason": code.text})


async def find_app(key: str, query: bytes, *, is_secure: bool) -> PusherApp | Code:
    """Return the app that a connection names, or why the connection must be closed. Waits until the apps are known."""
    await registry().wait()
    return known_app(key, query, is_secure=is_secure)


def known_app(key: str, query: bytes, *, is_secure: bool) -> PusherApp | Code:
    """As `find_app`, without waiting."""
    apps = registry()
    if not apps.are_known:
        return OVER_CAPACITY
    app = apps.find_by_key(key)
    if app is None:
        return UNKNOWN_APP
    if not app.is_enabled:
        return APP_DISABLED
    if app.is_tls_only and not is_secure:
        return TLS_ONLY
    return version_error(query) or app


def version_error(query: bytes) -> Code | None:
    """Return what is wrong with the protocol's version in a query string; None if it is served."""
    versions = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("protocol")
    if not versions:
        return NO_VERSION
    version = versions[0]
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        return INVALID_VERSION
    return None if int(version) in VERSIONS else UNSUPPORTED_VERSION


class WebSocketOutlet(AsgiLine):
    """Satisfies `client.Outlet`."""

    __slots__ = ("_client",)

    _client: PusherClient

    def attach(self, client: PusherClient) -> None:  # type: ignore[override]  # its own kind of client
        """Allow messages from now on."""
        super().attach(client)
        self._client = client

    @staticmethod
    def form(text: str) -> Message:
        """Return a message to the ASGI server; all clients share it."""
        return {"type": "websocket.send", "text": text}

    @staticmethod
    def size(message: Message) -> int:
        """Return the characters of a message's text, which is nearly all ASCII."""
        return len(message["text"])

    def end(self, code: Code) -> None:
        """Send a closing frame after all that waits."""
        self.finish([{"type": "websocket.close", "code": code.number, "reason": code.text}])

    def drain(self) -> None:
        """Close the client, because its ASGI server shuts down."""
        self._client.close(RESTARTING_LATER)
