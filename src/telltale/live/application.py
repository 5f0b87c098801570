"""The ASGI application: the live address goes to a transport, everything else to the application around which it is.

Servers tell of their end differently: by `lifespan`, only by a signal while streams are still open, or not at all
before they cut all lines, so signals are heeded too. What needs models is imported late: a site's `asgi.py` comes
here before Django is set up. `asgi.py` wraps it around Django, `serve.py` around nothing but the server's health.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, MutableMapping
from types import FrameType
from typing import Any, Final

from telltale.live.access import is_known_host, is_live, is_trusted_origin
from telltale.transports.http import Application, Receive, Scope, Send, answer, header


class Telltale:
    """An ASGI application around another."""

    def __init__(self, application: Application, *, owns_lifespan: bool = True) -> None:
        self._application = application
        self._owns_lifespan = owns_lifespan
        self._is_told_of_life = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, one socket, or the server's own beginning and end."""
        if scope["type"] == "lifespan":
            return await self._live_through(scope, receive, send)
        if scope["type"] in {"http", "websocket"} and is_live(scope["path"], scope.get("root_path", "")):
            if not self._is_told_of_life:
                _heed_signals(go_on_after_s=CUTS_AFTER_S)
                self._is_told_of_life = True
            return await _serve(scope, receive, send)
        if scope["type"] == "websocket" and self._owns_lifespan:
            # Django would raise: it knows no sockets. A closed handshake is a plain 403 to the client.
            await receive()
            return await send({"type": "websocket.close"})
        await self._application(scope, receive, send)

    async def _live_through(self, scope: Scope, receive: Receive, send: Send) -> None:
        from telltale.live.driver import close_present

        _heed_signals()
        self._is_told_of_life = True
        if not self._owns_lifespan:

            async def receive_closing() -> MutableMapping[str, Any]:
                event = await receive()
                if event["type"] == "lifespan.shutdown":
                    # Before the application: once that has answered, some servers wait for nothing more.
                    await close_present()
                return event

            return await self._application(scope, receive_closing, send)
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await close_present()
                return await send({"type": "lifespan.shutdown.complete"})


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    from telltale.live.driver import driver
    from telltale.transports.polling import polling
    from telltale.transports.sse import sse
    from telltale.transports.websocket import websocket

    if scope["type"] == "websocket":
        if is_known_host(scope) and is_trusted_origin(scope):
            return await websocket(scope, receive, send, driver())
        await receive()
        return await send({"type": "websocket.close", "code": 1008})
    if not is_known_host(scope):
        return await answer(send, 400, '{"error":"This host is not one of ALLOWED_HOSTS."}')
    if scope["method"] not in {"GET", "POST"}:
        return await answer(send, 405, '{"error":"Use GET or POST."}')
    transport = sse if "text/event-stream" in header(scope, b"accept") else polling
    await transport(scope, receive, send, driver())


# The end


CUTS_AFTER_S: Final = 0.5
"""Where a server knows no lifespan, it is let cut all lines only so much later than it was told to end."""


def _heed_signals(*, go_on_after_s: float = 0.0) -> None:
    """Drain when the process is told to end; the server's own handler goes on to do what it did, now or after that.

    Some servers wait for open streams before they say `lifespan.shutdown`, so without this they would wait long.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if callable(before) and not isinstance(before, _DrainingBefore):
            signal.signal(number, _DrainingBefore(before, asyncio.get_running_loop(), go_on_after_s))


class _DrainingBefore:
    """A signal's handler that drains, and then does what was done before."""

    def __init__(
        self, before: Callable[[int, FrameType | None], Any], loop: asyncio.AbstractEventLoop, go_on_after_s: float
    ) -> None:
        self._before, self._loop, self._go_on_after_s = before, loop, go_on_after_s

    def __call__(self, number: int, frame: FrameType | None) -> None:
        from telltale.live.driver import drain_all

        drain_all()
        if self._go_on_after_s and self._loop.is_running():
            self._loop.call_soon_threadsafe(self._loop.call_later, self._go_on_after_s, self._before, number, None)
        else:
            self._before(number, frame)
