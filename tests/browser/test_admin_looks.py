"""The admin's pages in Django's own look and in django-unfold's, light and dark, on a desktop and on a phone."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.admin_site import LOOKS, PAGES, AdminSite, admin_site
from tests.browser.conftest import BROWSER_MESSAGES, opening_contexts
from tests.browser.readable import MEASURE, TEXT_CONTRAST

pytestmark = pytest.mark.service

OURS = (
    ":is(.telltale-counts, .telltale-story, .telltale-lanes, .telltale-acts, .telltale-plot, .telltale-legend, "
    ".telltale-values summary, .telltale-overview #result_list, .telltale-times, task-progress)"
)
CUT = """
its => its
  .filter(it => it.scrollHeight > it.clientHeight + 1 || it.scrollWidth > it.clientWidth + 1)
  .map(it => it.className)
"""
UNNAMED = """
its => its
  .filter(it => !it.closest("table").tHead.checkVisibility())
  .filter(it => {
    const { content, display } = getComputedStyle(it, "::before")
    return display === "none" || !content.includes(it.dataset.label)
  })
  .map(it => it.textContent)
"""
"""The cells of a table without its head that do not say what they are."""
LENGTHEN = """
() => {
  const texts = document.querySelectorAll(".telltale-stages th, .readonly:not(:has(*))")
  for (const it of texts) it.textContent = "long_".repeat(50)
}
"""
OUTSIDE = "its => its.filter(it => it.getBoundingClientRect().right > innerWidth).map(it => it.textContent)"
DRAWN = """
() => {
  const drawn = [...document.querySelectorAll(".telltale-plot path, .telltale-lane rect, .telltale-spark path")]
  const colour = it => [getComputedStyle(it).stroke, getComputedStyle(it).fill].find(value => value !== "none")
  return drawn.map(colour)
}
"""


@pytest.fixture(scope="module", params=LOOKS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminSite]:
    directory: Path = tmp_path_factory.mktemp("admin")
    with admin_site(directory, request.param) as running:
        yield running


@pytest.fixture
def open_admin(browser: object, site: AdminSite) -> Iterator[Callable[..., BrowserContext]]:
    yield from opening_contexts(browser, site.url, BROWSER_MESSAGES)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_admins_pages_are_readable_and_fit(
    open_admin: Callable[..., BrowserContext], site: AdminSite, scheme: str
) -> None:
    context = open_admin(color_scheme=scheme)
    context.add_cookies([site.cookie()])
    page = context.new_page()
    for name in PAGES:
        page.goto(site.path(name))
        for width in (1_280, 1_100, 768, 360):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
            assert page.locator("#result_list td, .results").evaluate_all(CUT) == [], (name, width)
            assert page.locator(".telltale-overview #result_list td[data-label]").evaluate_all(UNNAMED) == [], (
                name,
                width,
            )
        expect(page.locator(OURS).first).to_be_visible()
        measured = page.evaluate(MEASURE, [OURS, [255, 255, 255]])
        assert len(measured) >= 10, name
        assert [it for it in measured if it["kind"] == "text" and it["contrast"] < TEXT_CONTRAST] == [], name
        colours = page.evaluate(DRAWN)
        assert all(colours), (name, colours)
        if name in {"story", "durations"}:
            assert len(colours) >= 6, name
            assert len(set(colours)) >= 3, (name, colours)


def test_the_story_keeps_long_names_and_errors_inside_the_page(
    open_admin: Callable[..., BrowserContext], site: AdminSite
) -> None:
    context = open_admin()
    context.add_cookies([site.cookie()])
    page = context.new_page()
    page.goto(site.path("story"))
    page.evaluate(LENGTHEN)
    for width in (1_280, 768, 360):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        assert page.locator(".telltale-stages td, .readonly").evaluate_all(OUTSIDE) == [], width
