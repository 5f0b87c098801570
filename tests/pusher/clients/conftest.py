"""The server, the libraries' drivers, and clients that are closed at the end of each test."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from pusher import Pusher

from tests.pusher.clients.apps import APPS, FLAKY, HOOKED, MAIN, App
from tests.pusher.clients.driver import Client, Driver
from tests.pusher.clients.raw import QUERY, RawClient
from tests.pusher.clients.signing import Api, channel_auth
from tests.pusher.clients.site import AppSite, server_library
from tests.pusher.clients.stand_in import StandIn
from tests.servers import running

Connect = Callable[..., RawClient]
Start = Callable[..., Client]
Join = Callable[..., RawClient]
Name = Callable[[str], str]

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these tests need a server process."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("service")


@pytest.fixture(scope="session")
def site() -> Iterator[AppSite]:
    """The endpoints for authorisation and webhooks."""
    site = AppSite()
    yield site
    site.stop()


@pytest.fixture(scope="session")
def pusher_server(site: AppSite) -> Iterator[StandIn]:
    """A stand-in server with all apps."""

    def start(directory: Path) -> StandIn:
        hooks = {HOOKED: [f"{site.url}/hooks"], FLAKY: [f"{site.url}/hooks/flaky"]}
        return StandIn.serving(directory, [app.setting(hooks.get(app, [])) for app in APPS])

    with running(start) as server:
        yield server
        assert server.is_alive, server.output()


@pytest.fixture(autouse=True)
def server_stays_alive(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test may crash the server, or make it log an exception."""
    yield
    if "pusher_server" in request.fixturenames:
        server: StandIn = request.getfixturevalue("pusher_server")
        assert server.is_alive, server.output()
        assert "Traceback" not in server.output(), server.output()


@pytest.fixture
def name() -> Name:
    """`name("private-")`: a name that no other test uses."""
    return lambda prefix: f"{prefix}{next(_numbers)}"


@pytest.fixture
def connect(pusher_server: StandIn) -> Iterator[Connect]:
    """`connect(app)`: a raw client that has read the first message."""
    with ExitStack() as stack:

        def connect(app: App = MAIN, query: str = QUERY, **options: Any) -> RawClient:
            client = RawClient(pusher_server.port, f"/app/{app.key}?{query}", **options)
            stack.callback(_leave, client)
            return client.establish()

        yield connect


def _leave(client: RawClient) -> None:
    with suppress(OSError):
        client.close()


@pytest.fixture
def join(connect: Connect) -> Join:
    """`join(channel, user_id)`: a raw client that is subscribed, and has read the answer."""

    def join(channel: str, user_id: str = "", app: App = MAIN, client: RawClient | None = None) -> RawClient:
        client = client or connect(app)
        data = json.dumps({"user_id": user_id, "user_info": {"name": user_id.title()}}) if user_id else None
        needs_auth = channel.startswith(("private-", "presence-"))
        auth = channel_auth(app, client.socket_id, channel, data) if needs_auth else None
        client.ask_for(channel, auth, data)
        while (answer := client.message())["event"] == "pusher_internal:subscription_count":
            pass  # Of another channel, in an app with counts.
        assert answer["event"] == "pusher_internal:subscription_succeeded", answer
        return client

    return join


@pytest.fixture
def api(pusher_server: StandIn) -> Iterator[Callable[..., Api]]:
    """`api(app)`: hand-signed requests."""
    with ExitStack() as stack:

        def api(app: App = MAIN) -> Api:
            made = Api(pusher_server.url, app)
            stack.callback(made.close)
            return made

        yield api


@pytest.fixture
def main(api: Callable[..., Api]) -> Api:
    """The HTTP API of the main app."""
    return api(MAIN)


@pytest.fixture
def python(pusher_server: StandIn) -> Callable[..., Pusher]:
    """`python(app)`: the official Python library."""
    return lambda app=MAIN: server_library(app, port=pusher_server.port)


@pytest.fixture(scope="session")
def drivers() -> Iterator[Callable[..., Driver]]:
    """`drivers(script, argument)`: the same process for all tests."""
    started: dict[tuple[str, ...], Driver] = {}

    def driver(*script: str) -> Driver:
        if script not in started:
            started[script] = Driver(*script)
        return started[script]

    yield driver
    for process in started.values():
        process.stop()


def _starting(driver: Driver, defaults: Callable[..., dict[str, Any]]) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(**choices: Any) -> Client:
            client = Client(driver, f"client-{next(_numbers)}", **defaults(**choices))
            stack.callback(client.close)
            return client

        yield start


@pytest.fixture(params=["pusher-js", "pusher-js-7"])
def js(
    request: pytest.FixtureRequest, drivers: Callable[..., Driver], pusher_server: StandIn, site: AppSite
) -> Iterator[Start]:
    """`js(app, user="ada")`: a pusher-js client, of each version in turn, configured as its documentation says."""

    def defaults(app: App = MAIN, options: dict[str, Any] | None = None, **endpoint: str) -> dict[str, Any]:
        usual = js_options(pusher_server.port, site.url, app, **endpoint)
        return {"key": app.key, "options": {**usual, **(options or {})}, "isEncrypted": True}

    yield from _starting(drivers("pusher_js.js", request.param), defaults)


def js_options(port: int, site_url: str, app: App, **endpoint: str) -> dict[str, Any]:
    """Return the options by which pusher-js connects to the server, and lets the site sign."""
    query = urlencode({"app": app.id, **endpoint})
    return {
        "cluster": "",
        "wsHost": "127.0.0.1",
        "wsPort": port,
        "forceTLS": False,
        "enabledTransports": ["ws", "wss"],
        "enableStats": False,
        "channelAuthorization": {"endpoint": f"{site_url}/pusher/auth?{query}", "transport": "ajax"},
        "userAuthentication": {"endpoint": f"{site_url}/pusher/user-auth?{query}", "transport": "ajax"},
    }


@pytest.fixture(params=["pusher", "reverb"])
def echo(
    request: pytest.FixtureRequest, drivers: Callable[..., Driver], pusher_server: StandIn, site: AppSite
) -> Iterator[Start]:
    """`echo(app, user="ada")`: a laravel-echo client with each of the broadcasters' names."""

    def defaults(app: App = MAIN, **endpoint: str) -> dict[str, Any]:
        query = urlencode({"app": app.id, **endpoint})
        usual = js_options(pusher_server.port, site.url, app)
        del usual["channelAuthorization"], usual["userAuthentication"]
        endpoint_url = f"{site.url}/broadcasting/auth?{query}"
        return {
            "options": {**usual, "broadcaster": request.param, "key": app.key, "authEndpoint": endpoint_url},
        }

    yield from _starting(drivers("echo.js"), defaults)


@pytest.fixture
def node(drivers: Callable[..., Driver], pusher_server: StandIn) -> Iterator[Start]:
    """`node(app)`: the official server library for node."""

    def defaults(app: App = MAIN, **more: Any) -> dict[str, Any]:
        address = {"host": "127.0.0.1", "port": str(pusher_server.port), "useTLS": False}
        return {"options": {"appId": app.id, "key": app.key, "secret": app.secret, **address, **more}}

    yield from _starting(drivers("pusher_node.js"), defaults)


@pytest.fixture
def asyncpusher(drivers: Callable[..., Driver], pusher_server: StandIn) -> Iterator[Start]:
    """`asyncpusher(app)`: a connected client of asyncpusher."""

    def defaults(app: App = MAIN, user: str = "") -> dict[str, Any]:
        member = {"user_id": user, "user_info": {"name": user.title()}} if user else None
        return {"key": app.key, "secret": app.secret, "host": "127.0.0.1", "port": pusher_server.port, "user": member}

    yield from _starting(drivers("asyncpusher_driver.py"), defaults)
