"""A server that goes away and comes back, and clients that do not give up."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pusher.clients.apps import MAIN
from tests.pusher.clients.conftest import Name, js_options
from tests.pusher.clients.driver import Client, Driver
from tests.pusher.clients.raw import QUERY, RawClient
from tests.pusher.clients.signing import Api
from tests.pusher.clients.site import AppSite
from tests.pusher.clients.stand_in import StandIn
from tests.servers import running

pytestmark = pytest.mark.timeout(240)
"""pusher-js itself waits 15 s after a try that was refused, because the server had not started yet."""


@pytest.fixture
def server() -> Iterator[StandIn]:
    def start(directory: Path) -> StandIn:
        return StandIn.serving(directory, [MAIN.setting()])

    with running(start) as server:
        yield server


@pytest.fixture(params=["pusher-js", "pusher-js-7"])
def client(
    request: pytest.FixtureRequest, server: StandIn, drivers: Callable[..., Driver], site: AppSite, name: Name
) -> Iterator[Client]:
    """A connected pusher-js client of the server that will go away."""
    options = js_options(server.port, site.url, MAIN, user="ada")
    client = Client(drivers("pusher_js.js", request.param), name("client-"), key=MAIN.key, options=options)
    client.wait(kind="state", current="connected")
    yield client
    client.close()


def published(server: StandIn, channel: str, data: Any) -> None:
    api = Api(server.url, MAIN)
    api.publish("happened", channel, data)
    api.close()


def subscribed(client: Client, channel: str) -> None:
    client.wait(kind="channel", channel=channel, event="pusher:subscription_succeeded")


def test_pusher_js_comes_back_after_each_restart(client: Client, server: StandIn, name: Name) -> None:
    """P80, P36, P7: with a new socket id, and with all its subscriptions, which are signed anew.

    Version 7 in node takes each close for an unclean one, because node's WebSocket does not say; after a second short
    connection it gives up for good, whatever the server does. test_in_a_browser.py has the same with two restarts.
    """
    restarts = 1 if client.driver.arguments == ("pusher-js-7",) else 2
    public, private = name("news-"), name("private-")
    for channel in (public, private):
        client.call("subscribe", channel=channel)
        subscribed(client, channel)
    socket_ids = {client.call("socket_id")}
    for restart in range(restarts):
        server.stop()
        server.start()
        for channel in (public, private):
            subscribed(client, channel)
        socket_ids.add(client.call("socket_id"))
        published(server, private, {"restart": restart})
        assert client.wait(kind="channel", event="happened")["data"] == {"restart": restart}
    assert len(socket_ids) == 1 + restarts
    assert client.seen(kind="state", current="failed") == []


def test_pusher_js_signs_in_again(client: Client, server: StandIn) -> None:
    """P80."""
    client.call("signin")
    client.wait(kind="message", event="pusher:signin_success")
    server.stop()
    server.start()
    client.wait(kind="message", event="pusher:signin_success")
    client.wait(kind="message", event="pusher_internal:subscription_succeeded", channel="#server-to-user-ada")


def test_pusher_js_comes_back_after_the_server_was_killed(client: Client, server: StandIn, name: Name) -> None:
    """P80: a connection of some length may end without a closing frame."""
    channel = name("news-")
    client.call("subscribe", channel=channel)
    subscribed(client, channel)
    server.kill()
    server.start()
    subscribed(client, channel)


def test_a_stopping_server_closes_cleanly_and_asks_clients_to_come_back(server: StandIn) -> None:
    """P36, P7: some at once, and some after a second, so that not all come in the same moment."""
    clients = [RawClient(server.port, f"/app/{MAIN.key}?{QUERY}").establish() for _ in range(40)]
    server.stop()
    codes = {client.closing()[0] for client in clients}
    assert all(4100 <= code < 4300 for code in codes)
    assert len(codes) == 2, "Both families of codes spread the clients."
    for client in clients:
        client.close()


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
def test_the_server_exits_without_an_error(server: StandIn, with_signal: signal.Signals) -> None:
    """P36."""
    client = RawClient(server.port, f"/app/{MAIN.key}?{QUERY}").establish()
    server.stop(with_signal)
    client.close()
    assert "Traceback" not in server.output()
