"""The ASGI application: requests for the live address go to a transport, all others to the wrapped application.

Servers announce their shutdown in different ways: by `lifespan`, by a signal while streams are still open, or not
at all before they cut all lines. So signals are handled too (`shutdown.py`). Modules that need Django's models are
imported late: a site's `asgi.py` imports this module before Django is set up. `asgi.py` wraps Django,
`server/serve.py` only the server's status addresses.
"""

from collections.abc import MutableMapping
from typing import Any, ClassVar

from telltale import conf
from telltale.core import origins
from telltale.live.access import is_known_host, is_live, is_trusted_origin
from telltale.live.shutdown import SIGNAL_DELAY_S, drain_on_signals
from telltale.transports.http import (
    Application,
    LiveRequest,
    Receive,
    Scope,
    Send,
    is_head_too_large,
    send_response,
)


class LiveApplication:
    """An ASGI application that wraps another and serves the live address."""

    is_mounted: ClassVar[bool] = False
    """Whether this process has one: then its ASGI server can hold connections open at the live address."""

    def __init__(self, application: Application, *, owns_lifespan: bool = True) -> None:
        """`owns_lifespan`: the wrapped application handles neither lifespan events nor sockets, as Django."""
        LiveApplication.is_mounted = True
        self._application = application
        self._owns_lifespan = owns_lifespan
        self._handles_shutdown = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or socket, or the server's own lifespan."""
        if scope["type"] == "lifespan":
            return await self._run_lifespan(scope, receive, send)
        if scope["type"] in {"http", "websocket"} and is_live(scope["path"], scope.get("root_path", "")):
            if not self._handles_shutdown:
                drain_on_signals(_drain_drivers, delay_s=SIGNAL_DELAY_S)
                self._handles_shutdown = True
            return await _run_transport(scope, receive, send)
        if scope["type"] == "websocket" and self._owns_lifespan:
            # Django would raise: it knows no sockets. A closed handshake is a plain 403 to the client.
            await receive()
            return await send({"type": "websocket.close"})
        await self._application(scope, receive, send)

    async def _run_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        from telltale.live.driver import close_driver

        drain_on_signals(_drain_drivers)
        self._handles_shutdown = True
        if not self._owns_lifespan:

            async def receive_closing() -> MutableMapping[str, Any]:
                event = await receive()
                if event["type"] == "lifespan.shutdown":
                    # Before the application: once it has answered, some servers wait for nothing more.
                    await close_driver()
                return event

            return await self._application(scope, receive_closing, send)
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await close_driver()
                return await send({"type": "lifespan.shutdown.complete"})


async def _run_transport(scope: Scope, receive: Receive, send: Send) -> None:
    from telltale.live.driver import driver
    from telltale.transports.polling import polling
    from telltale.transports.sse import sse
    from telltale.transports.websocket import websocket

    is_too_large = is_head_too_large(scope["headers"])
    request = LiveRequest.from_scope(scope)
    if scope["type"] == "websocket":
        if not is_too_large and is_known_host(request) and is_trusted_origin(request):
            return await websocket(request, receive, send, driver())
        await receive()
        return await send({"type": "websocket.close", "code": 1008})
    if is_too_large:
        return await send_response(send, 431, '{"error":"The headers are too large, such as a cookie."}')
    if not is_known_host(request):
        return await send_response(send, 400, '{"error":"The host is not in ALLOWED_HOSTS: add it there."}')
    allowed = conf.settings().allowed_origins
    if allowed and scope["method"] == "OPTIONS":
        return await _answer_preflight(send, origins.preflight_headers(request.origin, allowed))
    send = _with_headers(send, origins.cors_headers(request.origin, allowed))
    if scope["method"] not in {"GET", "POST"}:
        return await send_response(send, 405, '{"error":"Use GET or POST."}')
    transport = sse if request.wants_event_stream else polling
    await transport(request, receive, send, driver())


async def _answer_preflight(send: Send, headers: list[origins.Header]) -> None:
    """Tell a browser whether a page of another origin may use the live address."""
    await send({"type": "http.response.start", "status": 204, "headers": origins.encoded(headers)})
    await send({"type": "http.response.body", "body": b""})


def _with_headers(send: Send, headers: list[origins.Header]) -> Send:
    """Return a `send` that adds these headers to the response."""
    if not headers:
        return send

    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *origins.encoded(headers)]}
        await send(message)

    return send_with_headers


def _drain_drivers() -> None:
    from telltale.live.driver import drain_all

    drain_all()
