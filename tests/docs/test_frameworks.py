"""docs/frameworks.md: its components are live in a real browser, over the page's one connection, until they leave."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.accounts.site import AccountsSite
from tests.browser.conftest import browser
from tests.browser.steps import wait_until
from tests.docs.frameworks_site import BLOCKS, PAGE, start
from tests.docs.npm_package import FRAMEWORKS
from tests.servers import running

__all__ = ["browser"]

RECORD = """() => {
  const live = globalThis[Symbol.for("telltale.live")]
  const follow = live.task
  window.signals = []
  live.task = function (id, listener, options) {
    window.signals.push(options.signal)
    return follow.call(this, id, listener, options)
  }
}"""
"""Records the signals by which components and elements give tasks up."""
runs = count(1)


@pytest.fixture(scope="module")
def site(npm_project: Path) -> Iterator[AccountsSite]:
    assert (FRAMEWORKS / "node_modules").exists(), "Install the frameworks: npm --prefix tests/docs/frameworks ci"
    with running(lambda directory: start(directory, npm_project)) as started:
        yield started


@pytest.fixture
def context(browser: Browser, site: AccountsSite) -> Iterator[BrowserContext]:
    """A visitor's browser. Errors in its pages fail the test."""
    context = browser.new_context(base_url=site.url)
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    yield context
    context.close()
    assert errors == []


def test_every_block_of_the_page_is_used() -> None:
    assert len(BLOCKS) == PAGE.count("\n```\n") == 11


@pytest.mark.service
@pytest.mark.parametrize("framework", ["react", "react_app", "vue_app", "svelte"])
def test_a_component_shows_its_task_live_over_the_pages_one_connection_until_it_leaves(
    context: BrowserContext, site: AccountsSite, npm_project: Path, framework: str
) -> None:
    serve_react(context, npm_project / "app" / "react-of-cdn.js")
    context.add_cookies([{"name": "library", "value": framework, "url": site.url}])
    page = context.new_page()
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    run = next(runs)
    page.goto(f"/start/?run={run}")
    try:
        expect(page.locator("#count")).to_have_text("running: 20 of 100")
        expect(page.locator("#connection")).to_have_text("live")
        page.request.get("/reach/First/60/")
        expect(page.locator("#count")).to_have_text("running: 60 of 100")
        expect(page.locator("task-progress .telltale-figure")).to_have_text("60%")
        leave_and_return(page)
        page.request.get("/reach/First/100/")
        expect(page.locator("#count")).to_have_text("succeeded: 100 of 100")
        expect(page.locator("task-progress")).to_have_attribute("state", "succeeded")
        assert len(sockets) == 1
    finally:
        for name in ("First", "Second"):
            context.request.get(f"/reach/{name}/101/?run={run}")


def serve_react(context: BrowserContext, module: Path) -> None:
    """Answer for the CDN: both of its modules are one."""

    def answer(route: Route) -> None:
        is_module = route.request.url.endswith("/module.js")
        body = module.read_text() if is_module else 'export * from "https://esm.sh/module.js"'
        headers = {"Access-Control-Allow-Origin": "*"}
        route.fulfill(body=body, content_type="text/javascript", headers=headers)

    context.route("https://esm.sh/**", answer)


def leave_and_return(page: Page) -> None:
    """Unmount the component and mount it again, twice; what it followed is given up each time."""
    page.evaluate(RECORD)
    for _ in range(2):
        page.get_by_role("button", name="Hide").click()
        expect(page.locator("#count, task-progress")).to_have_count(0)
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#count")).to_have_text("running: 60 of 100")
        expect(page.locator("task-progress .telltale-figure")).to_have_text("60%")
    # The first component began before the recording: of the later two, each with its element, one has left.
    wait_until(page, lambda: page.evaluate("signals.map(it => it.aborted)") == [True, True, False, False])


@pytest.mark.service
def test_a_single_page_app_that_django_does_not_render_starts_a_task_and_is_live(context: BrowserContext) -> None:
    page = context.new_page()
    run = next(runs)
    page.goto(f"/app/?run={run}")
    try:
        expect(page.get_by_role("button", name="Your tasks")).to_be_visible()
        page.get_by_role("button", name="Import", exact=True).click()
        bar = page.locator("task-progress")
        expect(bar).to_have_attribute("connected", "live")
        expect(bar.locator(".telltale-figure")).to_have_text("20%")
        page.request.get("/reach/First/100/")
        expect(bar).to_have_attribute("state", "succeeded")
    finally:
        context.request.get(f"/reach/First/101/?run={run}")
