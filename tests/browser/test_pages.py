"""The pages as people meet them: a real browser, a real server, a real worker."""

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.proxy import Proxy, is_event_stream, is_websocket
from tests.demo.site import Site, topic_of

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]

END_S = 90
"""How long an import may take on a machine that has other things to do."""

COUNT_TOASTS = """
  window.toasts = 0
  new MutationObserver(changes => {
    const added = changes.flatMap(change => [...change.addedNodes])
    window.toasts += added.filter(node => node.classList?.contains("telltale-toast")).length
  }).observe(document, { childList: true, subtree: true })
"""


def test_an_import_is_live_to_its_end_without_a_reload(page: Page, airports: bytes) -> None:
    uploads(page, airports)
    page.evaluate("window.neverReloaded = true")
    values = watches(page)
    assert len(set(values)) >= 10
    assert values == sorted(values)
    assert max(values[:-1]) < 1
    assert page.evaluate("window.neverReloaded") is True
    expect(page.locator("task-progress")).to_contain_text("Done")
    page.get_by_role("link", name=re.compile("result", re.IGNORECASE)).click()
    expect(page.locator("#count")).to_have_attribute("value", "9000")


def test_a_refresh_in_the_middle_loses_nothing(page: Page, airports: bytes) -> None:
    uploads(page, airports)
    until_it_moves(page)
    before = fraction(page)
    page.reload()  # shows what was saved last, and a moment later what is
    until(page, lambda: fraction(page) >= before)
    assert watches(page)[-1] == 1


def test_two_tabs_get_one_toast(site: Site, opens: Callable[..., BrowserContext], airports: bytes) -> None:
    context = opens()
    context.add_init_script(COUNT_TOASTS)
    takes: list[bool] = []
    context.on("requestfinished", lambda asked: takes.append(True) if "/take/" in asked.url else None)
    tabs = [context.new_page(), context.new_page()]
    uploads(tabs[0], airports)
    task_id = topic_of(tabs[0].url).removeprefix("task:").replace("-", "")
    for tab in tabs:
        tab.goto("/")
        is_live(tab)

    until(tabs[0], lambda: len(takes) == 2)
    assert sorted(toasts(tab) for tab in tabs) == [0, 1]

    for tab in tabs:
        tab.reload()
        is_live(tab)
    assert [toasts(tab) for tab in tabs] == [0, 0]
    assert len(takes) == 2
    notices = "SELECT shown_at IS NOT NULL FROM telltale_storednotice WHERE task_id = ?"
    assert site.rows(notices, task_id) == [(True,)]


def test_the_page_comes_back_when_the_server_does(site: Site, page: Page, airports: bytes) -> None:
    uploads(page, airports)
    page.evaluate("window.neverReloaded = true")
    until_it_moves(page)
    before = fraction(page)
    site.stop_web()
    expect(page.locator("task-progress[connected]")).to_have_count(0)
    assert fraction(page) >= before
    site.start_web()
    assert watches(page)[-1] == 1
    assert page.evaluate("window.neverReloaded") is True


@pytest.mark.parametrize(
    "refused", [[is_websocket], [is_websocket, is_event_stream]], ids=["WebSockets", "streams too"]
)
def test_behind_a_proxy_that_refuses_it_falls_back(
    site: Site, opens: Callable[..., BrowserContext], airports: bytes, refused: list[Callable[[bytes], bool]]
) -> None:
    with Proxy(site.port, *refused) as proxy:
        page = opens(base_url=proxy.url).new_page()
        uploads(page, airports)
        page.evaluate("window.neverReloaded = true")
        values = watches(page)
        assert values == sorted(values)
        assert len(set(values)) >= 4
        assert page.evaluate("window.neverReloaded") is True
        for kind in refused:
            assert any(kind(head) for head in proxy.refused)


def test_without_javascript_it_progresses_by_refreshing_and_can_be_cancelled(
    opens: Callable[..., BrowserContext], all_airports: bytes
) -> None:
    page = opens(java_script_enabled=False).new_page()
    uploads(page, all_airports)
    loads: list[str] = []
    page.on("load", lambda loaded: loads.append(loaded.url))
    expect(page.locator("task-progress progress")).to_have_attribute(
        "value", re.compile(r"0\.[0-9]*[1-9]"), timeout=60_000
    )
    assert len(loads) >= 1
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("task-progress")).to_contain_text("Cancelled", timeout=30_000)


def test_after_a_kill_the_page_says_the_truth_and_offers_to_try_again(site: Site, page: Page, airports: bytes) -> None:
    uploads(page, airports)
    until_it_moves(page)
    site.kill_worker()
    try:
        expect(page.locator("task-progress")).to_contain_text("Lost contact with the worker", timeout=15_000)
        expect(page.locator("task-progress")).to_contain_text("Interrupted before it finished", timeout=20_000)
    finally:
        site.start_worker()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator('task-progress[state="succeeded"]')).to_be_visible(timeout=END_S * 1000)


def uploads(page: Page, content: bytes) -> None:
    """From the first page to the task's page, as a person would."""
    page.goto("/")
    page.locator("#file").set_input_files({"name": "airports.csv", "mimeType": "text/csv", "buffer": content})
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator("task-progress")).to_contain_text("Import airports.csv")


def fraction(page: Page) -> float:
    """What the bar shows, 0 to 1."""
    shown = page.locator("task-progress progress").first.evaluate("bar => bar.position")
    return max(0.0, float(shown))


def until_it_moves(page: Page) -> None:
    until(page, lambda: fraction(page) >= 0.15)


def until(page: Page, holds: Callable[[], bool]) -> None:
    """Waits as a browser does, so that what it has to tell is heard meanwhile."""
    end = time.monotonic() + END_S
    while not holds():
        assert time.monotonic() < end
        page.wait_for_timeout(50)


def is_live(page: Page) -> None:
    """Waits until the page hears the server."""
    page.wait_for_function("import('telltale').then(({ connect }) => connect().state === 'live')")


def toasts(page: Page) -> int:
    """How many toasts the page has shown since it was loaded."""
    return int(page.evaluate("toasts"))


def watches(page: Page) -> list[float]:
    """Everything the bar shows until the page says, in the same moment, that the task succeeded."""
    values, end = [fraction(page)], time.monotonic() + END_S
    element = page.locator("task-progress").first
    while True:
        assert time.monotonic() < end, element.inner_text()
        state, shown = element.evaluate("it => [it.getAttribute('state'), it.querySelector('progress').position]")
        values.append(max(0.0, shown))
        if state == "succeeded":
            return values
        time.sleep(0.05)
