"""The pages as people meet them: a real browser, a real server, a real worker."""

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.proxy import Proxy, is_event_stream, is_websocket
from tests.demo.site import Site

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]

END_S = 90
"""How long an import may take on a machine that has other things to do."""


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
    page.reload()
    assert fraction(page) >= before
    assert watches(page)[-1] == 1


def test_two_tabs_get_one_toast(opens: Callable[..., BrowserContext], airports: bytes) -> None:
    context = opens()
    first, second = context.new_page(), context.new_page()
    uploads(first, airports)
    location = first.url
    first.goto("/")
    second.goto("/")
    third = opens_json(context, location)
    end = time.monotonic() + END_S
    while not third()["ended"]:
        assert time.monotonic() < end
        time.sleep(0.2)
    toasts = [page.locator("task-toasts").get_by_text("airports.csv") for page in (first, second)]
    while sum(toast.count() for toast in toasts) == 0:
        assert time.monotonic() < end
        time.sleep(0.05)
    for _ in range(20):
        assert sum(toast.count() for toast in toasts) <= 1
        time.sleep(0.1)
    first.reload()
    second.reload()
    time.sleep(2)
    assert sum(toast.count() for toast in toasts) == 0


def test_the_page_comes_back_when_the_server_does(site: Site, page: Page, airports: bytes) -> None:
    uploads(page, airports)
    page.evaluate("window.neverReloaded = true")
    until_it_moves(page)
    site.stop_web()
    before = fraction(page)
    time.sleep(3)
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
    opens: Callable[..., BrowserContext], airports: bytes
) -> None:
    page = opens(java_script_enabled=False).new_page()
    uploads(page, airports)
    loads: list[str] = []
    page.on("load", lambda loaded: loads.append(loaded.url))
    expect(page.locator("task-progress progress")).to_have_attribute(
        "value", re.compile(r"0\.[0-9]*[1-9]"), timeout=60_000
    )
    assert len(loads) >= 1
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("task-progress")).to_contain_text("Stopped", timeout=30_000)


def test_after_a_kill_the_page_says_the_truth_and_offers_to_try_again(site: Site, page: Page, airports: bytes) -> None:
    uploads(page, airports)
    until_it_moves(page)
    site.kill_worker()
    try:
        expect(page.locator("task-progress")).to_contain_text("lost contact", timeout=15_000)
        expect(page.locator("task-progress")).to_contain_text("stopped without finishing", timeout=20_000)
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
    end = time.monotonic() + END_S
    while fraction(page) < 0.15:
        assert time.monotonic() < end
        time.sleep(0.05)


def watches(page: Page) -> list[float]:
    """Everything the bar shows until the page says that the task succeeded."""
    values, end = [fraction(page)], time.monotonic() + END_S
    succeeded = page.locator('task-progress[state="succeeded"]')
    while not succeeded.count():
        assert time.monotonic() < end, page.locator("task-progress").inner_text()
        values.append(fraction(page))
        time.sleep(0.05)
    return [*values, fraction(page)]


def opens_json(context: BrowserContext, location: str) -> Callable[[], dict[str, object]]:
    """Looks at a task as a program with this person's cookies does: no page of theirs hears of it."""
    return lambda: context.request.get(location, headers={"Accept": "application/json"}).json()
