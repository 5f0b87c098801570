"""The HTTP transports inside a site, on each ASGI server as a real process: streams, polls, slow readers, shutdown."""

import json
import secrets
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from telltale.pusher.server.fallback.frames import STREAM_CHARACTERS
from tests.pusher.clients.apps import MAIN
from tests.pusher.clients.signing import Api, channel_auth
from tests.pusher.clients.xhr import XhrClient
from tests.pusher.server.conftest import PREFIX
from tests.transports.sites import PATIENCE_S, ProcessSite, wait_until
from tests.transports.slow import WINDOW_BYTES, is_cut

pytestmark = pytest.mark.service

NEVER_PUSH_BACK = {"daphne"}
"""The server buffers everything, so a slow reader can't be told from others."""

Join = Callable[[], XhrClient]


@pytest.fixture(params=["xhr_streaming", "xhr"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def name() -> str:
    """A name of the test's own: the servers are one site, where a client of another test may still be subscribed."""
    return secrets.token_hex(4)


@pytest.fixture
def join(site: ProcessSite, transport: str) -> Iterator[Join]:
    """`join()`: a client that has read the first message."""
    with ExitStack() as stack:

        def join() -> XhrClient:
            client = XhrClient([f"{site.url}{PREFIX}"], MAIN.key, transport)
            stack.callback(client.vanish)
            return client.establish()

        yield join


def test_events_of_the_api_and_of_clients_reach_subscribers(api: Api, join: Join, name: str) -> None:
    """P71–P73, P16, P37."""
    first, second = join(), join()
    for client in (first, second):
        auth = channel_auth(MAIN, client.socket_id, f"private-{name}")
        assert client.subscribe(f"private-{name}", auth)["event"] == "pusher_internal:subscription_succeeded"
    for number in range(3):
        api.publish("happened", f"private-{name}", {"n": number})
        assert [json.loads(client.expect("happened")["data"]) for client in (first, second)] == [{"n": number}] * 2
    first.send("client-said", {"n": 2}, channel=f"private-{name}")
    assert second.expect("client-said")["data"] == {"n": 2}


def test_events_are_complete_beyond_the_limit_of_a_stream(api: Api, join: Join, name: str) -> None:
    """P72."""
    client = join()
    client.subscribe(name)
    data = "x" * 10_000
    count = STREAM_CHARACTERS * 2 // len(data)
    for number in range(count):
        api.publish("happened", name, f"{number} {data}")
        assert client.expect("happened")["data"] == f"{number} {data}"
    assert client.requests > 1


@pytest.mark.parametrize("transport", ["xhr_streaming"])
def test_a_client_that_vanishes_leaves_its_channels(join: Join, name: str) -> None:
    """P73, P28."""
    witness, vanishing, room = join(), join(), f"presence-{name}"
    for user, client in (("ada", witness), ("bob", vanishing)):
        data = json.dumps({"user_id": user})
        client.subscribe(room, channel_auth(MAIN, client.socket_id, room, data), data)
    witness.until("pusher_internal:member_added")
    vanishing.vanish()
    assert json.loads(witness.until("pusher_internal:member_removed")["data"]) == {"user_id": "bob"}


def test_a_refused_client_is_told_why(site: ProcessSite, transport: str) -> None:
    """P4, P71."""
    client = XhrClient([f"{site.url}{PREFIX}"], "unknown", transport)
    assert [client.frame()[:6] for _ in range(2)] == ["o{}", "c[4001"]
    client.vanish()


def test_browsers_may_ask_from_other_origins(site: ProcessSite) -> None:
    """P74, and P70: also below the prefix that pusher-js uses by default."""
    for mount in (PREFIX, "/pusher"):
        url = f"{site.url}{mount}/app/{MAIN.key}/1/abcdefgh/xhr_send"
        headers = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
        preflight = httpx.options(url, headers=headers, timeout=PATIENCE_S)
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, "*")
        answer = httpx.post(url, headers=headers, content="[]", timeout=PATIENCE_S)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (404, "*")


@pytest.mark.parametrize("transport", ["xhr_streaming"])
def test_a_client_that_does_not_read_is_closed_and_others_are_unaffected(
    site: ProcessSite, api: Api, join: Join, name: str
) -> None:
    if site.kind in NEVER_PUSH_BACK:
        pytest.skip("This server never says that a client does not read.")
    reader = join()
    reader.subscribe(name)
    text, sent = "x" * 10_000, 0
    with slow_client(site, name) as slow:
        wait_until(lambda: occupants(api, name) == 2, "both have subscribed")
        while occupants(api, name) == 2:
            api.publish("happened", name, text)
            assert reader.expect("happened")["data"] == text
            sent += 1
            assert sent < 5_000, "The slow client is still there."
        assert is_cut(slow)
    api.publish("happened", name, "last")
    assert reader.expect("happened")["data"] == "last"


def occupants(api: Api, channel: str) -> int:
    """The number of subscribers."""
    return int(api.get(f"channels/{channel}", info="subscription_count").json()["subscription_count"])


def slow_client(site: ProcessSite, channel: str) -> socket.socket:
    """Return a client that reads nothing after its stream has begun; another request of it subscribes."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
    line.settimeout(PATIENCE_S)
    line.connect(("127.0.0.1", site.port))
    path = f"{PREFIX}/app/{MAIN.key}/1/{secrets.token_hex(4)}"
    line.sendall(
        f"POST {path}/xhr_streaming?protocol=7 HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n"
        "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
    )
    assert b" 200 " in line.recv(64)
    body = json.dumps([json.dumps({"event": "pusher:subscribe", "data": {"channel": channel}})])
    url = f"{site.url}{path}/xhr_send"
    wait_until(lambda: httpx.post(url, content=body, timeout=PATIENCE_S).status_code == 204, "the session is open")
    return line


GONE = 0
"""In place of a code: the server was gone before a client that polls had asked again."""


def closing_code(client: Any) -> int:
    try:
        return int(client.closing())
    except httpx.TransportError:
        return GONE


def test_a_server_that_stops_closes_its_clients_cleanly(site: ProcessSite, join: Join) -> None:
    """P36: on each server, though servers differ in what they tell the application."""
    clients = [join() for _ in range(4)]
    requests = [client.requests for client in clients]
    with ThreadPoolExecutor(len(clients)) as threads:
        closings = [threads.submit(closing_code, client) for client in clients]
        if clients[0].receives_by_polls:
            wait_until(lambda: [client.requests - 1 for client in clients] == requests, "all of them poll")
        site.begin_shutdown()
        try:
            codes = {closing.result(PATIENCE_S) for closing in closings}
        finally:
            site.wait_for_exit(PATIENCE_S)
            site.start()
    assert codes <= {4101, 4200, GONE}
    # On a busy machine, granian's process ends before it has sent what the application gave it.
    assert clients[0].receives_by_polls or site.kind == "granian" or GONE not in codes
