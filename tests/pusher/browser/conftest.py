"""A real Chromium, unmodified pusher-js, the stand-in server in a process, and a site in others."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.browser.conftest import BROWSER_MESSAGES, airports, browser, opening_contexts
from tests.pusher.browser.site import APP, PusherSite
from tests.pusher.clients.stand_in import StandIn
from tests.servers import running

__all__ = ["airports", "browser"]


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    def start(directory: Path) -> StandIn:
        return StandIn.standalone(directory, "--app-id", APP.id, "--key", APP.key, "--secret", APP.secret)

    with running(start) as server:
        yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, stand_in: StandIn) -> Iterator[PusherSite]:
    with PusherSite(tmp_path_factory.mktemp("pusher"), stand_in) as site:
        yield site


@pytest.fixture
def site_of_short_tickets(tmp_path: Path, stand_in: StandIn) -> Iterator[PusherSite]:
    """A site whose pages renew their tickets every four seconds."""
    with PusherSite(tmp_path, stand_in, TICKET_S=8.0) as site:
        yield site


@pytest.fixture
def open_context(browser: Browser, site: PusherSite) -> Iterator[Callable[..., BrowserContext]]:
    """Each call returns a browser context with cookies of its own. Errors and warnings in its pages fail the test."""
    # pusher-js warns when a connection or a subscription fails.
    yield from opening_contexts(browser, site.url, (*BROWSER_MESSAGES, "Pusher : "))
