"""docs/soft-navigation.md: its templates are a site here, and its libraries change the pages of a real browser."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, product
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.accounts.site import AccountsSite
from tests.browser.conftest import browser
from tests.browser.steps import wait_until, wait_until_live
from tests.docs.soft_site import MODULES, files
from tests.servers import running

__all__ = ["browser"]

pytestmark = pytest.mark.service

BAR: Final = "task-progress progress.telltale-bar"
TOAST: Final = ".telltale-toast"
WATCH: Final = """() => {
  window.positions = []
  const look = () => {
    const bar = document.querySelector("task-progress progress")
    if (bar) window.positions.push(bar.position)
    requestAnimationFrame(look)
  }
  look()
}"""
"""Notes where the bar is in each frame that the browser paints."""

MORPH_BY_DOM: Final = """async () => {
  const older = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html")
  document.querySelector("h1").replaceWith(older.querySelector("h1"))
  const element = document.querySelector("task-progress"), source = older.querySelector("task-progress")
  for (const { name } of [...element.attributes]) element.removeAttribute(name)
  for (const { name, value } of source.attributes) element.setAttribute(name, value)
  element.replaceChildren(...source.childNodes)
  document.querySelector("task-tray").replaceChildren(...older.querySelector("task-tray").childNodes)
  document.querySelector("task-toasts").replaceChildren()
  for (const region of document.querySelectorAll(".telltale-spoken")) region.remove()
}"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """A way in which a library brings a page's content again."""

    library: str
    apply: Callable[[Page], object]


def click_about_and_imports(page: Page) -> None:
    expect_no_turbo_visit(page)
    page.get_by_role("link", name="About").click()
    expect(page.locator("h1")).to_have_text("About")
    expect_no_turbo_visit(page)
    page.get_by_role("link", name="Imports").click()


def expect_no_turbo_visit(page: Page) -> None:
    """Turbo shows a cached page, then replaces it by the server's: a click in between is lost with its link."""
    expect(page.locator("html[aria-busy], html[data-turbo-preview]")).to_have_count(0)


def click_with_an_old_cache(page: Page) -> None:
    """As after some seconds: Unpoly shows what it has, then asks the server."""
    page.evaluate("up.cache.expire()")
    click_about_and_imports(page)


WAYS: Final = {
    "Turbo, morph": Way(library="turbo", apply=lambda page: page.evaluate("Turbo.session.refresh(location.href)")),
    "Turbo, drive": Way(library="turbo", apply=click_about_and_imports),
    "htmx 2, morph": Way(library="htmx2", apply=lambda page: page.get_by_text("Refresh").click()),
    "htmx 2, boost": Way(library="htmx2", apply=click_about_and_imports),
    "htmx 4, morph": Way(library="htmx4", apply=lambda page: page.get_by_text("Refresh").click()),
    "htmx 4, boost": Way(library="htmx4", apply=click_about_and_imports),
    "Unpoly, follow": Way(library="unpoly", apply=click_with_an_old_cache),
    "DOM": Way(library="turbo", apply=lambda page: page.evaluate(MORPH_BY_DOM)),
}
runs = count(1)


@pytest.fixture(scope="module")
def site() -> Iterator[AccountsSite]:
    assert (MODULES / "vue").exists(), "Install the libraries: npm --prefix tests/docs/soft ci"
    with running(lambda directory: AccountsSite(directory, files=files())) as started:
        yield started


@pytest.fixture
def open_page(browser: Browser, site: AccountsSite) -> Iterator[Callable[[str], Page]]:
    """Each call opens the first page of a new visitor, who has started two tasks, with this library."""
    context = browser.new_context(base_url=site.url)
    errors: list[str] = []
    opened: list[int] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))

    def open_with(library: str) -> Page:
        context.add_cookies([{"name": "library", "value": library, "url": site.url}])
        page = context.new_page()
        opened.append(next(runs))
        answer = page.goto(f"/start/?run={opened[-1]}")
        assert answer is not None
        assert answer.ok, page.content()
        wait_until_live(page)
        page.evaluate("window.wasNotReloaded = true")
        return page

    yield open_with
    for run, name in product(opened, ("First", "Second")):
        assert context.request.get(f"/reach/{name}/101/?run={run}").ok
    context.close()
    assert errors == []


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_content_that_an_older_page_brings_does_not_put_anything_back(
    way: Way, open_page: Callable[[str], Page]
) -> None:
    page = open_page(way.library)
    expect_bar_at(page, 20)
    older = page.request.get("/").text().replace("<h1>Imports", "<h1>Older")
    # The server's bar may be a guess, by the usual duration.
    older, guesses = re.subn(r'(class="telltale-bar" max="1")( value="[^"]*")?', r'\1 value="0.9"', older)
    assert guesses == 1
    reach(page, 60)
    expect_bar_at(page, 60)
    page.evaluate(WATCH)
    page.get_by_role("button", name="Your tasks").click()
    expect(page.locator(".telltale-tray-panel")).to_be_visible()
    page.keyboard.press("Escape")

    bring(page, way, older)
    expect_bar_at(page, 60)
    expect(page.locator("task-progress")).to_have_attribute("connected", "live")
    assert min(page.evaluate("window.positions")) >= 0.6
    expect(page.locator("task-tray > :not(template)")).to_have_count(2)
    page.get_by_role("button", name="Your tasks").click()
    expect(page.locator(".telltale-tray-panel .telltale-row.own > b.telltale-label")).to_have_count(2)
    assert regions(page) == ["status", "alert"]

    reach(page, 80)
    expect_bar_at(page, 80)
    assert page.evaluate("window.wasNotReloaded") is True


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_toast_is_shown_until_it_is_dismissed_and_never_again(way: Way, open_page: Callable[[str], Page]) -> None:
    page = open_page(way.library)
    content = page.request.get("/").text().replace("<h1>Imports", "<h1>Older")
    notify(page, "error", "Disk full")
    expect(page.locator(TOAST)).to_have_count(1)
    for _ in range(2):
        bring(page, way, content)
        expect(page.locator(TOAST)).to_have_text("Disk full×")
        content = content.replace("<h1>Older", "<h1>Oldest")
    notify(page, "warning", "Disk nearly full")
    expect(page.locator(TOAST)).to_have_text(["Disk full×", "Disk nearly full×"])
    expect(page.locator(".telltale-spoken[role=alert]")).to_contain_text("Disk nearly full")
    for _ in range(2):
        page.get_by_role("button", name="Dismiss").first.click()
    expect(page.locator(TOAST)).to_have_count(0)
    bring(page, way, content.replace("<h1>Oldest", "<h1>Last"))
    wait_until_live(page)
    assert page.locator(TOAST).count() == 0


@pytest.mark.parametrize("library", ["turbo", "htmx2", "htmx4", "unpoly"])
def test_a_page_that_back_brings_is_live_and_its_toasts_can_be_dismissed(
    library: str, open_page: Callable[[str], Page]
) -> None:
    page = open_page(library)
    for text in ("Disk full", "No paper"):
        notify(page, "error", text)
    expect(page.locator(TOAST)).to_have_count(2)
    page.get_by_role("link", name="About").click()
    expect(page.locator("h1")).to_have_text("About")
    page.locator(TOAST, has_text="Disk full").get_by_role("button").click()
    expect(page.locator(TOAST)).to_have_text("No paper×")
    page.go_back()
    expect(page.locator("h1")).to_have_text("Imports")
    expect(page.locator(TOAST)).to_have_text("No paper×")
    page.locator(TOAST).get_by_role("button").click()
    expect(page.locator(TOAST)).to_have_count(0)
    reach(page, 80)
    expect_bar_at(page, 80)
    expect(page.locator("task-tray > :not(template)")).to_have_count(2)
    assert regions(page) == ["status", "alert"]
    assert page.evaluate("window.wasNotReloaded") is True


def test_a_bar_in_a_frame_is_live_after_the_frame_was_loaded_again(open_page: Callable[[str], Page]) -> None:
    page = open_page("turbo")
    page.evaluate("document.querySelector('task-progress').isOld = true")
    page.evaluate("document.querySelector('turbo-frame').src = '/'")
    wait_until(page, lambda: page.evaluate("!document.querySelector('task-progress').isOld") is True)
    reach(page, 80)
    expect_bar_at(page, 80)
    for refresh in ("morph", "replace"):
        page.evaluate(f"document.querySelector('turbo-frame').setAttribute('refresh', '{refresh}')")
        page.evaluate("document.querySelector('turbo-frame').reload()")
        expect_bar_at(page, 80)
    reach(page, 90)
    expect_bar_at(page, 90)


@pytest.mark.parametrize("library", ["alpine", "vue"])
def test_an_element_shows_the_task_that_a_framework_sets_changes_and_removes(
    library: str, open_page: Callable[[str], Page]
) -> None:
    page = open_page(library)
    element = page.locator("task-progress")
    for name, number in [("First", 60), ("Second", 40), ("First", 60)]:
        reach(page, number, name)
        page.get_by_role("button", name=name).click()
        expect(element.locator(".telltale-label")).to_have_text(name)
        expect_bar_at(page, number)
        expect(element).to_have_attribute("state", "running")
    page.get_by_role("button", name="None").click()
    expect(element.locator(".telltale-label")).to_have_text("")
    assert element.get_attribute("state") is None
    assert element.evaluate("it => [it.task, it.mine, it.snapshot]") == [None, True, None]


def test_an_element_that_gets_another_task_shows_nothing_of_the_first_one(open_page: Callable[[str], Page]) -> None:
    page = open_page("turbo")
    expect_bar_at(page, 20)
    unknown = "00000000-0000-4000-8000-000000000000"
    page.evaluate("id => document.querySelector('task-progress').setAttribute('task', id)", unknown)
    element = page.locator("task-progress")
    expect(element.locator(".telltale-label")).to_have_text("")
    assert element.locator("progress").evaluate("bar => bar.position") == -1
    assert element.locator("form:visible").count() == 0
    assert element.get_attribute("state") is None
    assert element.get_attribute("rendered") is None


def test_content_that_the_server_rendered_later_than_the_live_data_stays(open_page: Callable[[str], Page]) -> None:
    page = open_page("turbo")
    expect_bar_at(page, 20)
    task = page.locator("task-progress").get_attribute("task")
    newer = re.sub(r'rendered="[^"]*"', f'rendered="{task} 1 1 0"', page.request.get("/").text())
    newer = re.sub(r'(class="telltale-status">)[^<]*', r"\1Done", newer).replace("<h1>Imports", "<h1>Older")
    bring(page, WAYS["Turbo, morph"], newer)
    reach(page, 30)  # the update of a running task is older than the end
    wait_until(page, lambda: snapshot_count(page) >= 30)
    expect(page.locator("task-progress .telltale-status")).to_have_text("Done")
    reach(page, 100)
    expect(page.locator("task-progress")).to_have_attribute("state", "succeeded")


def test_the_title_loses_the_progress_with_the_bar_that_leaves_a_hidden_page(open_page: Callable[[str], Page]) -> None:
    page = open_page("turbo")
    hide(page)
    wait_until(page, lambda: page.title() == "(20%) Imports")
    page.evaluate("document.querySelector('task-progress').remove()")
    assert page.title() == "Imports"


def test_a_page_that_is_left_while_hidden_has_its_own_title_when_back_brings_it(
    open_page: Callable[[str], Page],
) -> None:
    page = open_page("turbo")
    hide(page)
    wait_until(page, lambda: page.title() == "(20%) Imports")
    page.evaluate("Turbo.visit('/about/')")
    wait_until(page, lambda: page.title() == "About")
    hide(page, False)
    page.go_back()
    expect(page.locator("h1")).to_have_text("Imports")
    wait_until(page, lambda: page.title() == "Imports")


def test_the_title_that_a_morph_brings_to_a_hidden_page_stays_when_it_is_seen(open_page: Callable[[str], Page]) -> None:
    page = open_page("turbo")
    hide(page)
    wait_until(page, lambda: page.title() == "(20%) Imports")
    renamed = (
        page.request.get("/").text().replace("<title>Imports", "<title>Renamed").replace("<h1>Imports", "<h1>Older")
    )
    bring(page, WAYS["Turbo, morph"], renamed)
    wait_until(page, lambda: page.title() == "(20%) Renamed")
    hide(page, False)
    assert page.title() == "Renamed"


def test_a_page_of_many_soft_navigations_keeps_one_block_of_data(open_page: Callable[[str], Page]) -> None:
    page = open_page("turbo")
    for _ in range(3):
        click_about_and_imports(page)
        expect(page.locator("h1")).to_have_text("Imports")
    notify(page, "error", "Disk full")
    expect(page.locator(TOAST)).to_have_count(1)
    click_about_and_imports(page)
    expect(page.locator(TOAST)).to_have_count(1)
    assert page.locator("#telltale-page").count() == 1


def test_the_end_of_a_task_is_an_event_also_if_it_comes_before_the_first_live_data(
    open_page: Callable[[str], Page],
) -> None:
    page = open_page("turbo")
    running = page.request.get("/about/").text(), page.request.get("/").text()
    reach(page, 100)
    expect(page.locator("task-progress")).to_have_attribute("state", "succeeded")
    script = "<script>addEventListener('telltale:end', event => (window.ended = event.detail.state))</script></head>"
    page.route("/", lambda route: route.fulfill(body=running[1].replace("</head>", script), content_type="text/html"))
    page.goto("/")
    wait_until(page, lambda: page.evaluate("window.ended") == "succeeded")
    expect(page.locator(".telltale-spoken[role=status]")).to_contain_text("First: ")


def test_a_toast_of_a_visitor_is_not_shown_on_the_page_of_another(open_page: Callable[[str], Page]) -> None:
    page = open_page("turbo")
    notify(page, "error", "Disk full")
    expect(page.locator(TOAST)).to_have_count(1)
    page.request.get("/sign-out/")
    page.evaluate("Turbo.visit('/about/')")
    expect(page.locator("h1")).to_have_text("About")
    expect(page.locator("task-toasts")).to_have_attribute("role", "region")
    assert page.locator(TOAST).count() == 0


@pytest.mark.parametrize("library", ["turbo", "htmx2", "htmx4", "unpoly"])
def test_the_documented_form_of_the_sign_out_loads_the_page(library: str, open_page: Callable[[str], Page]) -> None:
    page = open_page(library)
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("h1")).to_have_text("About")
    assert page.evaluate("window.wasNotReloaded") is None


def bring(page: Page, way: Way, content: str) -> None:
    """Let the library bring this content, in place of the page's own."""

    def answer(route: Route) -> None:
        route.fulfill(body=content, content_type="text/html; charset=utf-8")

    [title] = re.findall(r"<h1>(\w+)", content)
    is_first = re.compile(r"^http://[^/]+/$")
    page.route(is_first, answer)
    way.apply(page)
    expect(page.locator("h1")).to_have_text(title)
    page.unroute(is_first, answer)


def reach(page: Page, number: int, name: str = "First") -> None:
    """Let this task count to `number`."""
    page.request.get(f"/reach/{name}/{number}/")


def notify(page: Page, level: str, text: str) -> None:
    page.request.get(f"/notify/{level}/", params={"text": text})


def expect_bar_at(page: Page, percent: int) -> None:
    expect(page.locator("task-progress .telltale-figure")).to_have_text(f"{percent}%")
    expect(page.locator(BAR)).to_have_attribute("value", str(percent / 100))


def regions(page: Page) -> list[str]:
    """Return the roles of the page's live regions."""
    roles: list[str] = page.locator(".telltale-spoken").evaluate_all("all => all.map(it => it.role)")
    return roles


def snapshot_count(page: Page) -> int:
    """Return how far the first task is, by the live data."""
    current: float = page.evaluate("document.querySelector('task-progress').snapshot.progress.current")
    return int(current)


def hide(page: Page, is_hidden: bool = True) -> None:
    """Let the page think that it is hidden, as in a tab in the background."""
    page.evaluate(
        """isHidden => {
          Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden })
          document.dispatchEvent(new Event("visibilitychange"))
        }""",
        is_hidden,
    )
