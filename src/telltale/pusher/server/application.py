"""The ASGI application of the stand-in server: it serves Pusher's addresses and leaves all else to another.

    /app/KEY             WebSocket connections of clients
    /app/KEY/…/xhr…      their HTTP transports
    /apps/ID/…           the HTTP API
    /users/ID/terminate_connections

A prefix before these addresses is taken off first. Modules that need settings are imported late: a site's `asgi.py`
imports this module before Django is set up.
"""

import re
from collections.abc import MutableMapping
from typing import Any, Final

from telltale.live.shutdown import SIGNAL_DELAY_S, drain_on_signals
from telltale.pusher.server.fallback.addresses import FallbackAddress, fallback_address
from telltale.pusher.server.paths import app_key, inner_path, with_slash
from telltale.transports.http import Application, Receive, Scope, Send

_API: Final = re.compile(r"/apps/[0-9]+(/.*)?|/apps/[^/]+/(events|batch_events|channels|users)(/.*)?")
_SHORT_API: Final = re.compile(r"/users/[^/]+/terminate_connections/?")
"""The address of one call, as one of the official libraries asks for it."""


class PusherApplication:
    """An ASGI application that wraps another and serves Pusher's clients and server libraries."""

    def __init__(self, application: Application, prefix: str = "") -> None:
        """`prefix`: the path before `/app` and `/apps`, such as "/pusher"."""
        self._application = application
        self._prefix = with_slash(prefix)
        self._handles_shutdown = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one connection, or the server's lifespan."""
        if scope["type"] == "lifespan":
            return await self._run_lifespan(scope, receive, send)
        root_path = scope.get("root_path", "")
        if scope["type"] == "http" and (address := fallback_address(scope["path"], root_path, self._prefix)):
            return await self._serve_fallback(scope, receive, send, address)
        path = inner_path(scope["path"], root_path, self._prefix)
        if path is None:
            return await self._application(scope, receive, send)
        if scope["type"] == "websocket" and (key := app_key(path)) is not None:
            self._handle_shutdown(delay_s=SIGNAL_DELAY_S)
            from telltale.pusher.server.server import pusher_server
            from telltale.pusher.server.websocket import serve_websocket

            return await serve_websocket(scope, receive, send, pusher_server(), key)
        if scope["type"] == "http" and (_API.fullmatch(path) or _SHORT_API.fullmatch(path)):
            from telltale.pusher.server.api.http_api import http_api
            from telltale.pusher.server.server import pusher_server

            server = pusher_server()
            await server.channels.until_not_busy()
            return await http_api(scope, receive, send, server, path, prefix=self._prefix)
        await self._application(scope, receive, send)

    async def _serve_fallback(self, scope: Scope, receive: Receive, send: Send, address: FallbackAddress) -> None:
        self._handle_shutdown(delay_s=SIGNAL_DELAY_S)
        from telltale.pusher.server.fallback.http_transports import serve_fallback
        from telltale.pusher.server.server import pusher_server

        await serve_fallback(scope, receive, send, pusher_server(), address)

    def _handle_shutdown(self, *, delay_s: float = 0.0) -> None:
        if not self._handles_shutdown:
            self._handles_shutdown = True
            drain_on_signals(_drain_servers, delay_s=delay_s)

    async def _run_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._handle_shutdown()

        async def receive_events() -> MutableMapping[str, Any]:
            from telltale.pusher.server.server import close_server, pusher_server

            event = await receive()
            if event["type"] == "lifespan.startup":
                pusher_server()  # From now on this process knows the clients of the others.
            elif event["type"] == "lifespan.shutdown":
                # Before the application: once it has answered, some servers wait for nothing more.
                await close_server()
            return event

        await self._application(scope, receive_events, send)


def _drain_servers() -> None:
    from telltale.pusher.server.server import drain_all

    drain_all()
