"""pusher-js in a real browser, where its WebSocket is the browser's own: clients that come back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import CHROMIUM
from tests.pusher.clients.apps import MAIN
from tests.pusher.clients.conftest import Name, js_options
from tests.pusher.clients.signing import Api
from tests.pusher.clients.site import AppSite
from tests.pusher.clients.stand_in import StandIn
from tests.servers import running

pytestmark = pytest.mark.timeout(240)

CONNECT = """([key, options, channels]) => {
    window.events = []
    window.states = []
    window.errors = []
    window.pusher = new Pusher(key, options)
    pusher.connection.bind("state_change", ({ current }) => states.push(current))
    pusher.connection.bind("error", error => errors.push(error))
    for (const channel of channels)
        pusher.subscribe(channel).bind_global((event, data) => events.push([channel, event, data]))
}"""

HAPPENED = "([channel, event, data]) => events.some(e => JSON.stringify(e) === JSON.stringify([channel, event, data]))"

SUBSCRIPTIONS = """([channel, count]) =>
    events.filter(([on, event]) => on === channel && event === "pusher:subscription_succeeded").length === count"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def server() -> Iterator[StandIn]:
    def start(directory: Path) -> StandIn:
        return StandIn.serving(directory, [MAIN.setting()])

    with running(start) as server:
        yield server


@pytest.fixture(params=["pusher-js", "pusher-js-7"])
def page(request: pytest.FixtureRequest, browser: Browser, site: AppSite) -> Iterator[Page]:
    """A page that has loaded a version of pusher-js."""
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.goto(site.url)
    page.add_script_tag(url=f"/{request.param}.js")
    yield page
    page.close()


def connect(page: Page, server: StandIn, site: AppSite, *channels: str) -> None:
    """Connect, and subscribe to these channels."""
    options: dict[str, Any] = js_options(server.port, site.url, MAIN, user="ada")
    page.evaluate(CONNECT, [MAIN.key, options, list(channels)])


def publish_until_seen(page: Page, server: StandIn, channel: str, event: str) -> None:
    """Publish an event, and wait until the page has it."""
    api = Api(server.url, MAIN)
    api.publish(event, channel, {"n": 1})
    api.close()
    page.wait_for_function(HAPPENED, arg=[channel, event, {"n": 1}])


def test_pages_come_back_after_restarts_in_quick_succession(
    page: Page, server: StandIn, site: AppSite, name: Name
) -> None:
    """P80, P36, P7: version 7 gives up for good after two short connections that were not closed cleanly."""
    public, private = name("news-"), name("private-")
    connect(page, server, site, public, private)
    for restarts in range(3):
        page.wait_for_function(SUBSCRIPTIONS, arg=[public, restarts + 1])
        page.wait_for_function(SUBSCRIPTIONS, arg=[private, restarts + 1])
        publish_until_seen(page, server, private, f"event-{restarts}")
        if restarts < 2:
            server.stop()
            server.start()
    assert "failed" not in page.evaluate("states")


def test_a_page_with_an_unknown_key_is_told_why_and_stays_away(page: Page, server: StandIn, site: AppSite) -> None:
    """P4: a browser that is refused by HTTP would see 1006, and try for ever."""
    page.evaluate(CONNECT, ["nobodys-key", js_options(server.port, site.url, MAIN), []])
    page.wait_for_function("pusher.connection.state === 'disconnected'")
    assert page.evaluate("errors.map(error => (error.error ?? error).data.code)") == [4001]
