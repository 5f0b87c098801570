"""`get_asgi_application`, in place of Django's: that one line serves the live transports.

The live address goes to a transport, everything else to Django (or to the application you give). Servers tell
of their end differently: by `lifespan`, or only by a signal while streams are still open, so both are heeded.
What needs models is imported late: a site's `asgi.py` imports this one before Django is set up. For uvicorn,
`--timeout-graceful-shutdown 10` bounds what any other open request could still hold up, and
`--ws-per-message-deflate false` saves much memory for no gain.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from django.conf import settings as django_settings
from django.core.asgi import get_asgi_application as django_asgi_application
from django.core.signals import setting_changed
from django.http.request import split_domain_port, validate_host
from django.urls import NoReverseMatch, get_script_prefix, reverse, set_script_prefix
from django.utils.http import is_same_domain

from telltale.transports.base import Application, Receive, Scope, Send, answer, header

LOCAL_HOSTS: Final = [".localhost", "127.0.0.1", "[::1]"]
"""Who may ask under DEBUG with no ALLOWED_HOSTS; as Django has it."""


def get_asgi_application(application: Application | None = None) -> "Telltale":
    """Telltale's live address, and `application` for all else; by default Django's, which is set up here."""
    django_application: Any = django_asgi_application()
    return Telltale(application or django_application, owns_lifespan=application is None)


class Telltale:
    """An ASGI application around another."""

    def __init__(self, application: Application, *, owns_lifespan: bool = True) -> None:
        self._application = application
        self._owns_lifespan = owns_lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, one socket, or the server's own beginning and end."""
        if scope["type"] == "lifespan":
            return await self._live_through(scope, receive, send)
        if scope["type"] in {"http", "websocket"} and _inner_path(scope) == live_path():
            return await _serve(scope, receive, send)
        if scope["type"] == "websocket" and self._owns_lifespan:
            # Django would raise: it knows no sockets. A closed handshake is a plain 403 to the client.
            await receive()
            return await send({"type": "websocket.close"})
        await self._application(scope, receive, send)

    async def _live_through(self, scope: Scope, receive: Receive, send: Send) -> None:
        from telltale.web.driver import close_present

        _heed_signals()
        if not self._owns_lifespan:
            try:
                return await self._application(scope, receive, send)
            finally:
                await close_present()
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await close_present()
                return await send({"type": "lifespan.shutdown.complete"})


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    from telltale.transports.polling import polling
    from telltale.transports.sse import sse
    from telltale.transports.websocket import websocket
    from telltale.web.driver import driver

    if scope["type"] == "websocket":
        if _is_known_host(scope) and _is_trusted_origin(scope):
            return await websocket(scope, receive, send, driver())
        await receive()
        return await send({"type": "websocket.close", "code": 1008})
    if not _is_known_host(scope):
        return await answer(send, 400, '{"error":"This host is not one of ALLOWED_HOSTS."}')
    if scope["method"] not in {"GET", "POST"}:
        return await answer(send, 405, '{"error":"Use GET or POST."}')
    transport = sse if "text/event-stream" in header(scope, b"accept") else polling
    await transport(scope, receive, send, driver())


# Where from, and where to


_live_path: str | None = None


def live_path() -> str | None:
    """The live address within this application; None where Telltale's URLs are not included."""
    global _live_path
    if _live_path is None:
        prefix = get_script_prefix()
        set_script_prefix("/")
        try:
            _live_path = reverse("telltale:live")
        except NoReverseMatch:
            return None
        finally:
            set_script_prefix(prefix)
    return _live_path


def _forget(*, setting: str, **_: object) -> None:
    global _live_path
    if setting == "ROOT_URLCONF":
        _live_path = None


setting_changed.connect(_forget, dispatch_uid="telltale.asgi")


def _inner_path(scope: Scope) -> str:
    """The path without what the server put before it: most servers say it in both, some do not."""
    root = (django_settings.FORCE_SCRIPT_NAME or scope.get("root_path") or "").rstrip("/")
    path: str = scope["path"]
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def _host(scope: Scope) -> str:
    forwarded = header(scope, b"x-forwarded-host") if django_settings.USE_X_FORWARDED_HOST else ""
    return (forwarded or header(scope, b"host")).lower()


def _is_known_host(scope: Scope) -> bool:
    allowed = django_settings.ALLOWED_HOSTS
    if django_settings.DEBUG and not allowed:
        allowed = LOCAL_HOSTS
    domain, _port = split_domain_port(_host(scope))
    return bool(domain) and validate_host(domain, allowed)


def _is_trusted_origin(scope: Scope) -> bool:
    """Whether a page of this site asks, or one that CSRF_TRUSTED_ORIGINS names, or a program that is no page."""
    origin = header(scope, b"origin").lower()
    if not origin:
        return True
    scheme, _, place = origin.partition("://")
    if not place:
        return False  # "null": a page that hides where it comes from
    if _without_default_port(place) == _without_default_port(_host(scope)):
        return True
    for trusted in django_settings.CSRF_TRUSTED_ORIGINS:
        its_scheme, _, its_place = trusted.lower().partition("://")
        if its_scheme == scheme and is_same_domain(place, its_place.replace("*.", ".", 1)):
            return True
    return False


def _without_default_port(place: str) -> str:
    # Which scheme is ours can't be told behind a proxy that ends TLS, so both defaults are none.
    return place.removesuffix(":443").removesuffix(":80")


# The end


def _heed_signals() -> None:
    """Drain when the process is told to end; the server's own handler goes on to do what it did.

    Some servers wait for open streams before they say `lifespan.shutdown`, so without this they would wait long.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if callable(before) and not isinstance(before, _DrainingBefore):
            signal.signal(number, _DrainingBefore(before))


class _DrainingBefore:
    """A signal's handler that drains, and then does what was done before."""

    def __init__(self, before: Callable[[int, FrameType | None], Any]) -> None:
        self._before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        from telltale.web.driver import drain_all

        drain_all()
        self._before(number, frame)
