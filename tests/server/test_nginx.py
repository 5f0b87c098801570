"""Behind nginx, as configured in docs/live-server.md: pages from one server, the live address from another."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import httpx
import pytest

from demo import run
from demo.airports import samples
from telltale.live import tickets
from tests.demo.site import Site as Demo
from tests.demo.site import Visitor, ended, topic_of
from tests.demo.test_an_import import by_event_stream, by_websocket
from tests.servers import ROOT, Nginx, free_port, running
from tests.transports.conftest import SocketClient, StreamClient
from tests.transports.sites import PATIENCE_S, ProcessSite, Site, wait_until

pytestmark = pytest.mark.service

DOCUMENTED = re.search(r"```nginx\n(.*?)```", (ROOT / "docs" / "live-server.md").read_text(), re.DOTALL)


def blocks(port: int, *, site: int, live: int, version: str = "1.1") -> str:
    """The documented configuration, at these ports."""
    assert DOCUMENTED
    text = DOCUMENTED[1]
    for documented, actual in {
        "listen 80;": f"listen 127.0.0.1:{port};",
        "http://127.0.0.1:8000;": f"http://127.0.0.1:{site};",
        "http://127.0.0.1:8001;": f"http://127.0.0.1:{live};",
        "proxy_http_version 1.1;": f"proxy_http_version {version};",
    }.items():
        assert text.count(documented) == 1
        text = text.replace(documented, actual)
    return text


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo with its own server, for the pages."""
    with Demo(tmp_path_factory.mktemp("demo")) as demo:
        yield demo


@pytest.fixture(scope="module")
def live(demo: Demo) -> Iterator[ProcessSite]:
    """Two processes for the demo's live address."""
    words = ["telltale.server", "--port", "{port}", "--processes", "2", "--drain-s", "2"]
    with running(partial(ProcessSite, words=words, env=run.environment(demo.directory))) as site:
        yield site


@pytest.fixture(scope="module", params=["1.1", "1.0"])
def nginx(request: pytest.FixtureRequest, demo: Demo, live: ProcessSite) -> Iterator[Nginx]:
    """nginx in front of both; it uses HTTP/1.1 as documented, or 1.0 as by default."""
    both = partial(blocks, site=demo.port, live=live.port, version=request.param)
    with running(partial(Nginx, blocks=both)) as server:
        server.version = request.param  # type: ignore[attr-defined]
        yield server


def test_the_demos_import_is_followed_through_nginx(nginx: Any) -> None:
    with Visitor(nginx.url) as visitor:
        location = visitor.upload("".join(samples.airports(3_000))).headers["Location"]
        ticket = visitor.ticket(topic_of(location))
        ways = [by_event_stream, *([by_websocket] if nginx.version == "1.1" else [])]
        followers = [follow(nginx.url, ticket) for follow in ways]
        assert visitor.poll(location, until=ended)[-1]["state"] == "succeeded"
    for follower in followers:
        follower.join(PATIENCE_S)
        assert follower.states[-1] == "succeeded"
        assert follower.fractions == sorted(follower.fractions)
        # A proxy that buffered the stream would deliver all of it at once.
        assert follower.received_at[-1] - follower.received_at[0] > 0.5
        assert len(set(follower.fractions)) > 3


class Through(Site):
    """A site behind nginx."""

    def __init__(self, nginx: Nginx) -> None:
        self.port = nginx.port


@pytest.fixture
def through(starts: Callable[..., ProcessSite]) -> Iterator[Callable[..., Through]]:
    """`through(CONNECTIONS=2)`: a live server with these settings, behind nginx."""
    with ExitStack() as stack:

        def start(**settings: object) -> Through:
            server = starts(**settings)
            both = partial(blocks, site=free_port(), live=server.port)
            return Through(stack.enter_context(running(partial(Nginx, blocks=both))))

        yield start


def test_s45_clients_behind_nginx_are_counted_by_their_own_address_whatever_header_they_send(through: Any) -> None:
    site = through(CONNECTIONS_PER_ADDRESS=1)
    ticket = tickets.issue(["project:7"])

    def stream(address: str, **headers: str) -> httpx.Response:
        client = httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=PATIENCE_S)
        headers |= {"Accept": "text/event-stream", "Authorization": f"Bearer {ticket}"}
        response = client.send(client.build_request("GET", site.live, headers=headers), stream=True)
        opened.append((response, client))
        return response

    opened: list[tuple[httpx.Response, httpx.Client]] = []
    try:
        assert stream("127.0.0.2").status_code == 200
        assert stream("127.0.0.3").status_code == 200
        assert stream("127.0.0.2").status_code == 429
        assert stream("127.0.0.2", **{"X-Forwarded-For": "198.51.100.7"}).status_code == 429
    finally:
        for response, client in opened:
            response.close()
            client.close()


def test_clients_that_disconnect_behind_nginx_are_forgotten(through: Any) -> None:
    site = through(CONNECTIONS=2)
    for _ in range(3):
        pair = [SocketClient(site, tickets.issue(["project:7"])), StreamClient(site, tickets.issue(["project:7"]))]
        for client in pair:
            client.message("hello")
        for client in pair:
            client.close()
        _until_there_is_room(site)


def _until_there_is_room(site: Site) -> None:
    def has_room() -> bool:
        return bool(httpx.get(site.live, headers={"Accept": "application/json"}, timeout=20).status_code == 401)

    wait_until(has_room, "there is room again")
