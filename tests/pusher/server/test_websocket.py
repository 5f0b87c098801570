"""The stand-in inside a site, on each ASGI server as a real process: connections, events, slow readers, shutdown."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.channels.site_servers import ChannelsSite
from tests.pusher.clients.apps import MAIN
from tests.pusher.clients.raw import QUERY, EndedWithoutClosing, RawClient
from tests.pusher.clients.signing import Api, channel_auth
from tests.pusher.server.conftest import PREFIX
from tests.servers import running
from tests.transports.sites import COMMANDS, PATIENCE_S, ProcessSite, environment, wait_until
from tests.transports.slow import KEY, WINDOW_BYTES, is_cut, masked

pytestmark = pytest.mark.service

TURNS_CLIENTS_AWAY = (4101, 4200)
"""Codes of a server that is going away; with 1012 the ASGI server's own frame came first, which is as clean."""

SERVERS_THAT_PUSH_BACK = [kind for kind in COMMANDS if kind != "daphne"]
"""daphne buffers everything, so the application can't know that a client does not read."""


@pytest.fixture
def join(site: ProcessSite) -> Iterator[Callable[[], RawClient]]:
    """`join()`: a client that has read the first message."""
    with ExitStack() as stack:

        def join() -> RawClient:
            client = RawClient(site.port, f"{PREFIX}/app/{MAIN.key}?{QUERY}")
            stack.callback(client.vanish)
            return client.establish()

        yield join


Join = Callable[[], RawClient]


def test_events_of_the_api_and_of_clients_reach_subscribers(api: Api, join: Join) -> None:
    """P16, P37: and signatures hold below a prefix."""
    first, second = join(), join()
    for client in (first, second):
        auth = channel_auth(MAIN, client.socket_id, "private-x")
        assert client.subscribe("private-x", auth)["event"] == "pusher_internal:subscription_succeeded"
    api.publish("happened", "private-x", {"n": 1})
    assert [json.loads(client.expect("happened")["data"]) for client in (first, second)] == [{"n": 1}] * 2
    first.send("client-said", {"n": 2}, channel="private-x")
    assert second.expect("client-said")["data"] == {"n": 2}
    first.expect_silence()


def test_a_connection_that_is_refused_is_closed_with_a_code(site: ProcessSite) -> None:
    """P4, P7: cleanly, by a closing frame."""
    for path, code in ((f"{PREFIX}/app/unknown?{QUERY}", 4001), (f"{PREFIX}/app/{MAIN.key}", 4008)):
        client = RawClient(site.port, path)
        assert client.closing()[0] == code
        client.vanish()


def test_a_client_that_vanishes_leaves_its_channels(site: ProcessSite, join: Join) -> None:
    """P20, P28."""
    witness, vanishing = join(), join()
    for user, client in (("ada", witness), ("bob", vanishing)):
        data = json.dumps({"user_id": user})
        client.subscribe("presence-x", channel_auth(MAIN, client.socket_id, "presence-x", data), data)
    witness.until("pusher_internal:member_added")
    vanishing.vanish()
    assert json.loads(witness.until("pusher_internal:member_removed")["data"]) == {"user_id": "bob"}


def test_the_sites_own_addresses_are_served_as_before(site: ProcessSite) -> None:
    if not site.is_live_server:
        with connect(f"{site.url.replace('http', 'ws')}/echo", open_timeout=PATIENCE_S) as echo:
            echo.send("hello")
            assert echo.recv(PATIENCE_S) == "hello"
    assert site.connection_count() == 0
    assert httpx.get(f"{site.url}/app/{MAIN.key}", timeout=PATIENCE_S).status_code in {200, 404}


@pytest.mark.parametrize("site", SERVERS_THAT_PUSH_BACK, indirect=True)
def test_a_client_that_does_not_read_is_closed_and_others_are_unaffected(
    site: ProcessSite, api: Api, join: Join
) -> None:
    reader = join()
    reader.subscribe("news")
    batch, sent = [{"name": "happened", "channel": "news", "data": "x" * 10_000}] * 10, 0
    with slow_client(site, "news") as slow:
        wait_until(lambda: occupants(api, "news") == 2, "both have subscribed")
        while occupants(api, "news") == 2:
            assert api.post("batch_events", {"batch": batch}).status_code == 200
            for event in batch:
                assert reader.expect("happened")["data"] == event["data"]
            sent += 1
            assert sent < 1_000, "The slow client is still there."
        assert is_cut(slow)
    api.publish("happened", "news", "last")
    assert reader.expect("happened")["data"] == "last"


def occupants(api: Api, channel: str) -> int:
    """The number of subscribers."""
    return int(api.get(f"channels/{channel}", info="subscription_count").json()["subscription_count"])


def slow_client(site: ProcessSite, channel: str) -> socket.socket:
    """Return a client that reads nothing after it has subscribed."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
    line.settimeout(PATIENCE_S)
    line.connect(("127.0.0.1", site.port))
    line.sendall(
        f"GET {PREFIX}/app/{MAIN.key}?{QUERY} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b" 101 " in line.recv(4096)
    line.sendall(masked(json.dumps({"event": "pusher:subscribe", "data": {"channel": channel}}).encode()))
    return line


CUT = 0
"""In place of a code: the connection ended without a closing frame."""

MAY_END_WITHOUT_A_FRAME = {"granian": (CUT,)}
"""On a busy machine, granian's process ends before it has sent what the application gave it."""


def closing_code(client: RawClient) -> int:
    try:
        return client.closing()[0]
    except EndedWithoutClosing:
        return CUT


def test_a_server_that_stops_closes_its_clients_cleanly(site: ProcessSite, join: Join) -> None:
    """P36: on each server, though servers differ in what they tell the application."""
    clients = [join() for _ in range(20)]
    site.begin_shutdown()
    try:
        codes = {closing_code(client) for client in clients}
    finally:
        site.wait_for_exit(PATIENCE_S)
        site.start()
    assert codes <= {*TURNS_CLIENTS_AWAY, 1001, 1012, *MAY_END_WITHOUT_A_FRAME.get(site.kind, ())}
    assert codes & {*TURNS_CLIENTS_AWAY, *MAY_END_WITHOUT_A_FRAME.get(site.kind, ())}


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
def test_beside_the_sockets_of_a_project_with_channels(server: str, transactional_db: None, tmp_path: Path) -> None:
    more: Any = json.loads(environment()["TELLTALE_MORE"]) | {"PUSHER_APPS": [MAIN.setting()]}
    with running(lambda d: ChannelsSite.serving(d, server, "around", TELLTALE_MORE=json.dumps(more))) as site:
        client = RawClient(site.port, f"/app/{MAIN.key}?{QUERY}").establish()
        client.subscribe("news")
        api = Api(site.url, MAIN)
        api.publish("happened", "news", "hello")
        api.close()
        assert client.expect("happened")["data"] == "hello"
        client.close()
        with site.socket("/async/none/") as projects_own:
            projects_own.send('"hello"')
            assert json.loads(projects_own.recv(PATIENCE_S)) == {"done": "hello"}
