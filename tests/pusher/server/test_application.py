"""Which requests the stand-in server takes from the application that it wraps."""

import asyncio
import json
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from telltale.asgi import get_asgi_application
from telltale.live.application import LiveApplication
from telltale.pusher.server.application import PusherApplication

APPS = [{"ID": "1", "KEY": "key-1", "SECRET": "secret-1"}]


class Site:
    """The wrapped application: it notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope.get("path", scope["type"]))


@pytest.fixture(autouse=True)
def apps() -> Any:
    with override_settings(TELLTALE=django_settings.TELLTALE | {"PUSHER_APPS": APPS}):
        yield


def ask(application: Any, path: str, kind: str = "http", **scope: Any) -> list[Any]:
    """Return what is sent for one request or connection; the client disconnects at once."""
    sent: list[Any] = []
    events = iter([{"type": "websocket.connect"}, {"type": f"{kind}.disconnect", "code": 1001}])

    async def receive() -> Any:
        return {"type": "http.request"} if kind == "http" else next(events)

    async def send(message: Any) -> None:
        sent.append(message)

    whole = {"type": kind, "path": path, "headers": [], "method": "GET", "query_string": b"protocol=7", "scheme": "ws"}

    async def run() -> None:
        from telltale.pusher.server.server import close_server

        await application(whole | scope, receive, send)
        await close_server()

    asyncio.run(run())
    return sent


TAKEN = [
    ("websocket", "/app/key-1"),
    ("http", "/apps/1"),
    ("http", "/apps/1/events"),
    ("http", "/apps/1/nothing-of-ours"),
    ("http", "/apps/unknown/events"),
    ("http", "/apps/1/channels/presence-x/users"),
    ("http", "/users/7/terminate_connections"),
]

LEFT = [
    ("websocket", "/"),
    ("websocket", "/app"),
    ("websocket", "/app/key-1/more"),
    ("websocket", "/application/key-1"),
    ("websocket", "/apps/1/events"),
    ("http", "/"),
    ("http", "/apps"),
    ("http", "/apps/store"),
    ("http", "/apps/store/pages"),
    ("http", "/users/7"),
    ("http", "/users/7/posts"),
    ("http", "/application"),
]
"""A site has pages of its own at addresses that begin alike."""


@pytest.mark.parametrize(("kind", "path"), TAKEN)
@pytest.mark.parametrize("prefix", ["", "/ws", "/a/b/"])
def test_the_protocols_addresses_are_served_below_the_prefix(kind: str, path: str, prefix: str) -> None:
    """P1."""
    site = Site()
    sent = ask(PusherApplication(site, prefix), prefix.rstrip("/") + path, kind)
    assert site.asked == []
    assert sent
    if prefix:
        ask(PusherApplication(site, prefix), path, kind)
        assert site.asked == [path]


@pytest.mark.parametrize(("kind", "path"), LEFT)
def test_all_other_addresses_are_the_sites(kind: str, path: str) -> None:
    site = Site()
    assert ask(PusherApplication(site), path, kind) == []
    assert site.asked == [path]


@pytest.mark.parametrize("path", ["/mounted/ws/app/key-1", "/ws/app/key-1"])
def test_a_servers_own_root_path_is_taken_off_first(path: str) -> None:
    """Some servers put it before the path, others don't."""
    site = Site()
    assert ask(PusherApplication(site, "ws"), path, "websocket", root_path="/mounted")
    assert site.asked == []


def test_a_client_is_accepted_and_told_its_socket_id() -> None:
    """P1, P2."""
    accepted, first, *_ = ask(PusherApplication(Site()), "/app/key-1", "websocket")
    assert accepted == {"type": "websocket.accept"}
    assert json.loads(first["text"])["event"] == "pusher:connection_established"


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/app/unknown", b"protocol=7", 4001),
        ("/app/key-1", b"", 4008),
        ("/app/key-1", b"protocol=", 4006),
        ("/app/key-1", b"protocol=x", 4006),
        ("/app/key-1", b"protocol=-1", 4006),
        ("/app/key-1", b"protocol=" + b"9" * 5_000, 4006),
        ("/app/key-1", "protocol=٧".encode(), 4006),
        ("/app/key-1", b"protocol=3", 4007),
        ("/app/key-1", b"protocol=8", 4007),
    ],
)
def test_a_refused_connection_is_accepted_first_and_closed_with_a_code(path: str, query: bytes, code: int) -> None:
    """P4, P5: a browser sees no code where the upgrade is refused, and would try again for ever."""
    accepted, closed = ask(PusherApplication(Site()), path, "websocket", query_string=query)
    assert accepted == {"type": "websocket.accept"}
    assert (closed["type"], closed["code"]) == ("websocket.close", code)
    assert len(closed["reason"].encode()) <= 123


@pytest.mark.parametrize("version", [4, 5, 6, 7])
def test_the_versions_in_use_are_served(version: int) -> None:
    """P5."""
    sent = ask(PusherApplication(Site()), "/app/key-1", "websocket", query_string=f"protocol={version}".encode())
    assert "connection_established" in sent[1]["text"]


def test_an_app_may_ask_for_tls_and_may_be_disabled() -> None:
    """P6."""
    apps = [{**APPS[0], "TLS_ONLY": True}, {"ID": "2", "KEY": "key-2", "SECRET": "s", "IS_ENABLED": False}]
    with override_settings(TELLTALE=django_settings.TELLTALE | {"PUSHER_APPS": apps}):
        application = PusherApplication(Site())
        assert ask(application, "/app/key-1", "websocket")[1]["code"] == 4000
        assert "text" in ask(application, "/app/key-1", "websocket", scheme="wss")[1]
        assert ask(application, "/app/key-2", "websocket")[1]["code"] == 4003


def test_a_site_serves_the_apps_of_its_settings() -> None:
    assert isinstance(get_asgi_application(), PusherApplication)
    with override_settings(TELLTALE=django_settings.TELLTALE | {"PUSHER_APPS": None}):
        assert isinstance(get_asgi_application(), LiveApplication)


def test_a_sites_setting_says_the_prefix() -> None:
    site = Site()
    with override_settings(TELLTALE=django_settings.TELLTALE | {"PUSHER_APPS": APPS, "PUSHER_PATH": "/pusher"}):
        application = get_asgi_application(site)
        assert ask(application, "/pusher/app/key-1", "websocket")
    assert site.asked == []
