"""A real Chromium against the real demo.

The fixtures that run Playwright have module scope: Playwright runs an event loop in this thread, and Django's
database calls in other tests must not meet it.
"""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from demo.airports import samples
from tests.demo.site import Site

CHROMIUM = "/usr/bin/chromium"
BROWSER_MESSAGES = ("Failed to load resource", "WebSocket connection", "net::ERR")
"""The browser logs these while a server is down or refuses. Any other error or warning fails the test."""


expect.set_options(timeout=40_000)  # A busy machine may take long to show something.


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("browser")) as site:
        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield from _launch(playwright)


def _launch(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture
def open_context(browser: Browser, site: Site) -> Iterator[Callable[..., BrowserContext]]:
    """Each call returns a browser context with cookies of its own. Errors and warnings in its pages fail the test."""
    yield from opening_contexts(browser, site.url, BROWSER_MESSAGES)


def opening_contexts(browser: Browser, url: str, expected: tuple[str, ...]) -> Iterator[Callable[..., BrowserContext]]:
    """Yield a function that opens contexts at `url`. `expected`: parts of the messages that fail no test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_one(**options: object) -> BrowserContext:
        context = browser.new_context(**{"base_url": url, "reduced_motion": "reduce"} | options)  # type: ignore[arg-type]
        context.set_default_timeout(40_000)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        context.on("console", lambda line: errors.append(line.text) if line.type in {"error", "warning"} else None)
        contexts.append(context)
        return context

    yield open_one
    for context in contexts:
        context.close()
    assert [text for text in errors if not any(message in text for message in expected)] == []


@pytest.fixture
def page(open_context: Callable[..., BrowserContext]) -> Page:
    return open_context().new_page()


@pytest.fixture(scope="session")
def airports() -> bytes:
    """A file whose import takes about ten seconds."""
    return "".join(samples.airports(9_000)).encode()


@pytest.fixture(scope="session")
def all_airports() -> bytes:
    """The largest file, for tests that need more time."""
    return "".join(samples.airports()).encode()
