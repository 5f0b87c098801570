"""The gallery has every state of the elements: what must hold in all of them is checked here, in a real Chromium."""

import re
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from telltale.pages.gallery.recorded import recorded_runs
from tests.demo.site import Site
from tests.http_proxy import Proxy, is_event_stream, is_websocket

pytestmark = pytest.mark.service

WIDTHS = [320, 768, 1440]
AXE_OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

MOVING = {"Even", "Two stages", "Slow items", "Fails in the middle"} | {
    f"Recorded: {run.name}" for run in recorded_runs()
}
"""Samples whose runs go on."""

TEXTS = """
() => Object.fromEntries([...document.querySelectorAll("figure")].map(figure => [
  figure.querySelector("figcaption").textContent,
  [".telltale-label", ".telltale-figure", ".telltale-status", ".telltale-detail"]
    .map(part => figure.querySelector(part).textContent.trim()),
]))
"""
"""The texts of all samples, by title."""

BUTTONS = """
() => Object.fromEntries([...document.querySelectorAll("figure")].map(figure => [
  figure.querySelector("figcaption").textContent,
  [...figure.querySelectorAll("button:not(.telltale-tell), .telltale-result")]
    .filter(it => it.checkVisibility()).map(it => it.textContent),
]))
"""
"""The texts of all buttons, by title; without the one that scripts alone offer."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The demo in development."""
    site = Site(tmp_path_factory.mktemp("gallery"))
    site.environment |= {"DEMO_DEBUG": "1"}
    with site:
        yield site


@pytest.fixture
def open_gallery(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Each call opens the gallery, with a query and a width, and waits for the elements."""
    contexts = []

    def open_one(query: str = "", width: int = 1280) -> Page:
        context = browser.new_context(
            base_url=site.url, viewport={"width": width, "height": 900}, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.goto(f"/telltale/gallery/{query}")
        if "scripts=off" not in query:
            expect(page.locator("task-progress[connected]")).to_have_count(page.locator("task-progress").count())
        return page

    yield open_one
    for context in contexts:
        context.close()


def without_numbers(texts: dict[str, list[str]]) -> dict[str, list[str]]:
    """The texts without what passes from one second to the next; samples that move are left out."""
    still = {title: parts for title, parts in texts.items() if title not in MOVING}
    return {title: [re.sub(r"\d+", "#", part) for part in parts] for title, parts in still.items()}


def test_every_state_reads_the_same_with_and_without_scripts(open_gallery: Callable[..., Page]) -> None:
    scripted, plain = open_gallery(), open_gallery("?scripts=off")
    assert without_numbers(scripted.evaluate(TEXTS)) == without_numbers(plain.evaluate(TEXTS))
    assert (
        scripted.evaluate(BUTTONS).items()
        >= {title: names for title, names in plain.evaluate(BUTTONS).items() if title not in MOVING}.items()
    )


@pytest.mark.parametrize("query", ["", "?scheme=dark&dir=rtl", "?connection=polling", "?scripts=off"])
def test_no_state_is_wider_than_its_page(open_gallery: Callable[..., Page], query: str) -> None:
    page = open_gallery(query)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_label_keeps_its_line_on_a_phone_whatever_is_said_of_the_connection(
    open_gallery: Callable[..., Page],
) -> None:
    page = open_gallery("?connection=polling", 320)
    expect(page.locator("figure", has_text="Quiet").locator(".telltale-line").first).to_be_visible()
    heights = page.evaluate(
        """() => [...document.querySelectorAll(".telltale-label")]
             .filter(it => it.textContent === "Import airports").map(it => it.getBoundingClientRect().height)"""
    )
    assert len(heights) > 20
    assert max(heights) < 40  # one line has 24


@pytest.mark.parametrize("query", ["?scheme=light", "?scheme=dark", "?scripts=off"])
def test_axe_finds_nothing(open_gallery: Callable[..., Page], query: str) -> None:
    page = open_gallery(query)
    results = Axe().run(page, options=AXE_OPTIONS)
    assert [
        (found["id"], [node["html"][:300] for node in found["nodes"][:3]]) for found in results.response["violations"]
    ] == []


def test_runs_move_to_their_ends_and_begin_again(open_gallery: Callable[..., Page]) -> None:
    bar = open_gallery("?speed=10").locator("figure", has_text="Even").locator("task-progress")
    for state in ("running", "succeeded", "running"):
        expect(bar).to_have_attribute("state", state)


def test_a_recorded_run_is_played_at_the_speed_that_was_chosen(open_gallery: Callable[..., Page]) -> None:
    page = open_gallery("?scheme=dark")
    page.get_by_label("Speed").fill("50")
    page.get_by_role("button", name="Play").click()
    page.wait_for_url("**/gallery/?scheme=dark&speed=50")
    bar = page.locator("figure", has_text="Recorded: show commits").locator("task-progress")
    for state in ("running", "succeeded", "running"):
        expect(bar).to_have_attribute("state", state)


def test_messages_of_all_levels_appear(open_gallery: Callable[..., Page]) -> None:
    page = open_gallery("?messages=on")
    expect(page.locator("task-toasts")).to_contain_text("A message of the level")


def findings_of(page: Page) -> dict[str, tuple[str, str]]:
    """What the self-test has found, once it is through: for each test its state, and what it says."""
    page.goto("/telltale/self-test/")
    expect(page.locator("[data-report]")).to_be_visible()
    rows = page.locator("[data-findings] > li").all()
    return {
        row.locator("span").inner_text(): (str(row.get_attribute("data-state")), row.locator("p").all_inner_texts()[0])
        for row in rows
    }


def test_the_self_test_finds_that_all_works(browser: Browser, site: Site) -> None:
    page = browser.new_page(base_url=site.url, viewport={"width": 360, "height": 800})
    findings = findings_of(page)
    assert {name: state for name, (state, _text) in findings.items()} == dict.fromkeys(findings, "works")
    assert len(findings) == 9
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert Axe().run(page, options=AXE_OPTIONS).response["violations"] == []
    page.close()


def test_the_self_test_finds_a_proxy_that_refuses_sockets_and_keeps_streams_back(browser: Browser, site: Site) -> None:
    with Proxy(site.port, is_websocket, buffers=is_event_stream) as proxy:
        page = browser.new_page(base_url=proxy.url)
        findings = findings_of(page)
        page.close()
    assert findings["WebSocket"] == ("problem", "No WebSocket opens.")
    state, text = findings["Event stream"]
    assert (state, "a proxy keeps it back" in text) == ("problem", True)
    assert [findings[name][0] for name in ("Long poll", "Broker", "HTTP")] == ["works", "works", "note"]
