"""Pages of a site whose server can hold no connections: they poll at once, and the browser's console shows no error."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.accounts.bar import JSON, assert_bar_moves
from tests.accounts.deployment import LiveServer, OpenPage, open_page
from tests.accounts.site import AccountsSite
from tests.browser.steps import wait_until
from tests.server.test_nginx import blocks
from tests.servers import Nginx, running

__all__ = ["open_page"]

pytestmark = pytest.mark.service

LIVE = "**/telltale/live/"
SETTINGS = """
from tests.accounts.settings import *
MIDDLEWARE = ["whitenoise.middleware.WhiteNoiseMiddleware", *MIDDLEWARE]
WHITENOISE_USE_FINDERS = True
TELLTALE = {"BROKER": "local://"}
"""


@pytest.fixture(scope="module", params=["wsgi", "plain asgi"])
def site(request: pytest.FixtureRequest) -> Iterator[AccountsSite]:
    with running(partial(AccountsSite, server=request.param, files={"site_settings.py": SETTINGS})) as started:
        yield started


def live_requests(page: Page) -> list[Request]:
    """The page's requests to the live address, as they come."""
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request) if request.url.endswith("/telltale/live/") else None)
    return requests


def sockets_of(page: Page) -> list[str]:
    """The URLs of the page's WebSockets, as they are opened."""
    urls: list[str] = []
    page.on("websocket", lambda socket: urls.append(socket.url))
    return urls


def test_the_first_figure_comes_by_the_first_request_which_is_a_poll(site: AccountsSite, open_page: OpenPage) -> None:
    page = open_page(site.url)
    requests, sockets = live_requests(page), sockets_of(page)
    held: list[Route] = []
    page.route(LIVE, lambda route: held.append(route))
    url = page.request.post("/start/", headers=JSON).headers["location"]
    page.goto("/bar/")
    wait_until(page, lambda: page.request.get(url, headers=JSON).json()["progress"]["current"] == 1)
    wait_until(page, lambda: len(held) >= 1)
    held[0].continue_()
    # All other polls are held, so that the figure is the first one's.
    expect(page.locator("task-progress progress")).to_have_attribute("value", "0.5")
    assert requests[0].method == "POST"
    assert {request.headers["accept"] for request in requests} == {"application/json"}
    assert sockets == []


def test_a_bar_moves_to_its_end_by_polls_alone(site: AccountsSite, open_page: OpenPage) -> None:
    page = open_page(site.url)
    requests, sockets = live_requests(page), sockets_of(page)
    assert_bar_moves(page, is_live=False)
    assert {request.headers["accept"] for request in requests} == {"application/json"}
    assert sockets == []


def test_with_a_live_server_beside_it_a_page_of_a_wsgi_site_is_live_after_one_poll(open_page: OpenPage) -> None:
    def start(directory: Path) -> AccountsSite:
        return AccountsSite(directory, server="wsgi", files={"site_settings.py": SETTINGS})

    with running(start) as site, ExitStack() as stack:
        live = LiveServer(site.directory)
        stack.callback(live.stop)
        nginx = stack.enter_context(running(partial(Nginx, blocks=partial(blocks, site=site.port, live=live.port))))
        page = open_page(nginx.url)
        requests, sockets = live_requests(page), sockets_of(page)
        assert_bar_moves(page)
        assert [request.headers["accept"] for request in requests][:1] == ["application/json"]
        assert not any(re.search("event-stream", request.headers["accept"]) for request in requests)
        assert len(sockets) == 1
        page.close()  # before the servers stop
