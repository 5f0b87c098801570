"""Unmodified pusher-js in a real browser behind proxies that refuse WebSockets: it falls back to HTTP, and works."""

import json
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from telltale.pusher.server.fallback.frames import STREAM_CHARACTERS
from tests.browser.conftest import CHROMIUM
from tests.http_proxy import Proxy, is_websocket
from tests.pusher.clients.apps import MAIN
from tests.pusher.clients.conftest import Join, Name
from tests.pusher.clients.fallback_pages import CONNECT, HAPPENED, SUBSCRIBE, TRANSPORT, fallback_options, is_stream
from tests.pusher.clients.signing import Api
from tests.pusher.clients.site import AppSite
from tests.pusher.clients.stand_in import StandIn

pytestmark = pytest.mark.timeout(240)

ConnectPage = Callable[..., None]

CONNECTED_S = 30
"""pusher-js begins to try HTTP after 5 s, and polling 4 s later: it takes 5.1 and 9.1 s on an idle machine."""

BLOCKED = {"xhr_streaming": None, "xhr_polling": is_stream}
"""The transport that is left → which responses the proxy also buffers."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["pusher-js", "pusher-js-7"])
def page(request: pytest.FixtureRequest, browser: Browser, site: AppSite) -> Iterator[Page]:
    """A page of another origin that has loaded a version of pusher-js."""
    page = browser.new_page()
    page.set_default_timeout(90_000)
    page.goto(site.url)
    page.add_script_tag(url=f"/{request.param}.js")
    yield page
    page.close()


@pytest.fixture(params=BLOCKED)
def transport(request: pytest.FixtureRequest) -> str:
    """The transport that the proxy leaves."""
    return str(request.param)


@pytest.fixture
def proxy(transport: str, pusher_server: StandIn) -> Iterator[Proxy]:
    with Proxy(pusher_server.port, is_websocket, buffers=BLOCKED[transport]) as proxy:
        yield proxy


@pytest.fixture
def connect_page(page: Page, proxy: Proxy, site: AppSite) -> ConnectPage:
    """Connect the page through the proxy; `only` names the transports, so that it does not try WebSockets first."""

    def connect(*only: str, key: str = MAIN.key) -> None:
        options = fallback_options(proxy, site, MAIN)
        page.evaluate(CONNECT, [key, options | ({"enabledTransports": only} if only else {})])

    return connect


def test_a_page_connects_by_http_and_works(
    page: Page,
    proxy: Proxy,
    transport: str,
    connect_page: ConnectPage,
    join: Join,
    main: Api,
    name: Name,
) -> None:
    """P69–P74: it receives events, joins a presence channel, and sends client events."""
    connect_page()
    page.wait_for_function("pusher.connection.state === 'connected'")
    assert page.evaluate("connectedAfter") < CONNECTED_S * 1_000
    assert page.evaluate(TRANSPORT) == transport
    assert any(map(is_websocket, proxy.refused))
    room = name("presence-")
    witness = join(room, "bob")
    page.evaluate(SUBSCRIBE, room)
    page.wait_for_function("channel => pusher.channel(channel).subscribed", arg=room)
    assert page.evaluate("channel => pusher.channel(channel).members.count", room) == 2
    assert json.loads(witness.until("pusher_internal:member_added")["data"])["user_id"] == "ada"
    for number in range(5):
        main.publish("happened", room, {"n": number})
        page.wait_for_function(HAPPENED, arg=[room, "happened", {"n": number}])
    assert page.evaluate("channel => pusher.channel(channel).trigger('client-said', { n: 1 })", room)
    said = witness.until("client-said")
    assert (said["data"], said["user_id"]) == ({"n": 1}, "ada")
    witness.send("client-answered", {"n": 2}, channel=room)
    page.wait_for_function(
        "channel => events.some(([on, event]) => on === channel && event === 'client-answered')", arg=room
    )
    assert page.evaluate("states") == ["connected"], "It never reconnected."


def test_events_arrive_complete_and_in_order_beyond_the_limit_of_a_stream(
    page: Page, transport: str, connect_page: ConnectPage, main: Api, name: Name
) -> None:
    """P72."""
    connect_page(transport)
    channel = name("news-")
    page.evaluate(SUBSCRIBE, channel)
    page.wait_for_function("channel => pusher.channel(channel).subscribed", arg=channel)
    data = "x" * 5_000
    count = 3 * STREAM_CHARACTERS // len(data)
    for number in range(count):
        main.publish("happened", channel, {"n": number, "data": data})
    page.wait_for_function("count => events.filter(([, event]) => event === 'happened').length >= count", arg=count)
    received = page.evaluate("events.filter(([, event]) => event === 'happened').map(([, , data]) => data.n)")
    assert received == list(range(count))
    assert page.evaluate("states") == ["connected"], "It never reconnected."


def test_a_page_with_an_unknown_key_is_told_why_and_stays_away(
    page: Page, transport: str, connect_page: ConnectPage
) -> None:
    """P4."""
    connect_page(transport, key="nobodys-key")
    page.wait_for_function("pusher.connection.state === 'disconnected'")
    assert page.evaluate("errors.map(error => (error.error ?? error).data?.code).filter(Boolean)") == [4001]


def test_a_page_that_is_closed_leaves_its_channels(
    page: Page, transport: str, connect_page: ConnectPage, join: Join, name: Name
) -> None:
    """P73, P28."""
    connect_page(transport)
    room = name("presence-")
    witness = join(room, "bob")
    page.evaluate(SUBSCRIBE, room)
    witness.until("pusher_internal:member_added")
    page.close()
    assert json.loads(witness.until("pusher_internal:member_removed")["data"]) == {"user_id": "ada"}
