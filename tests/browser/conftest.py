"""A real Chromium before the real demo.

Playwright's own loop lives in this thread while its fixture does: module scope, so that no other test's
database call meets it.
"""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from demo.airports import samples
from tests.demo.site import Site

CHROMIUM = "/usr/bin/chromium"
EXPECTED = ("Failed to load resource", "WebSocket connection", "net::ERR")
"""What a browser itself complains of when a server is away or refuses; anything else is our mistake."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("browser")) as site:
        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield from _launched(playwright)


def _launched(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture
def opens(browser: Browser, site: Site) -> Iterator[Callable[..., BrowserContext]]:
    """Each call is another person's browser; whatever its pages complain of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_context(**options: object) -> BrowserContext:
        context = browser.new_context(**{"base_url": site.url, "reduced_motion": "reduce"} | options)  # type: ignore[arg-type]
        context.set_default_timeout(30_000)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        contexts.append(context)
        return context

    yield open_context
    for context in contexts:
        context.close()
    assert [text for text in complaints if not any(expected in text for expected in EXPECTED)] == []


@pytest.fixture
def page(opens: Callable[..., BrowserContext]) -> Page:
    return opens().new_page()


@pytest.fixture(scope="session")
def airports() -> bytes:
    """A file whose import takes some ten seconds."""
    return "".join(samples.airports(9_000)).encode()


@pytest.fixture(scope="session")
def all_airports() -> bytes:
    """All there are, for what needs more time."""
    return "".join(samples.airports()).encode()
