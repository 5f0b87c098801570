"""docs/themes.md: with its looks, the elements have the theme's colours, radius and font, and stay readable."""

import re
from typing import Final

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import browser
from tests.browser.readable import STYLE_SHEET, assert_readable, content
from tests.docs.themes import BLOCKS, MODULES, PAGE, THEMES, themed
from tests.servers import ROOT

__all__ = ["browser"]

ELEMENTS: Final = ROOT / "src" / "telltale" / "static" / "telltale" / "elements"
LONGEST_LOOK: Final = 12
"""Lines, with those of the braces."""

COMPUTED: Final = """
([colours, button]) => {
  const main = document.querySelector("main")
  const probe = main.appendChild(document.createElement("i"))
  const colour = name => (probe.style.color = `var(${name})`, getComputedStyle(probe).color)
  const pairs = Object.entries(colours).map(([own, its]) => [own, colour(`--telltale-${own}`), colour(its)])
  probe.remove()
  const its = main.appendChild(Object.assign(document.createElement("button"), { className: button }))
  const own = main.querySelector("task-progress button")
  const radius = [getComputedStyle(own).borderRadius, getComputedStyle(its).borderRadius]
  const fonts = [own, main.querySelector("task-progress"), document.body].map(it => getComputedStyle(it).fontFamily)
  its.remove()
  return { pairs, radius, fonts }
}
"""


@pytest.mark.service
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", THEMES)
def test_with_its_look_the_elements_have_the_themes_colours_radius_and_font(
    browser: Browser, name: str, scheme: str
) -> None:
    assert MODULES.exists(), "Install the frameworks: npm --prefix tests/docs/frameworks ci"
    theme = THEMES[name]
    with themed(browser, name, scheme, f"<main>{content()}</main>") as page:
        computed = page.evaluate(COMPUTED, [theme.colours[scheme], theme.button])
        for own, ours, theirs in computed["pairs"]:
            assert ours == theirs != "", own
        ours, theirs = computed["radius"]
        assert ours == theirs != "0px"
        assert len({*computed["fonts"]}) == 1
        assert "Times" not in computed["fonts"][0]
        assert_readable(page, at_least=100)


@pytest.mark.service
def test_an_icon_is_the_text_of_its_custom_property(browser: Browser) -> None:
    with themed(browser, "bootstrap", "light", f"<style>{BLOCKS['icons.css']}</style><main>{content()}</main>") as page:
        before = "it => [getComputedStyle(it, '::before').content, getComputedStyle(it, '::before').fontFamily]"
        content_of, font = page.locator('[state="succeeded"] > .telltale-status').first.evaluate(before)
        assert "\uf26b" in content_of
        assert "bootstrap-icons" in font
        assert "\uf479" in page.locator(".telltale-tray-button").evaluate(before)[0]
        assert "✕" not in page.locator('[state="failed"] > .telltale-status').first.evaluate(before)[0]


def test_a_look_takes_ten_lines_or_fewer_inside_its_braces() -> None:
    for name in THEMES:
        lines = BLOCKS[f"{name}.css"].splitlines()
        assert 3 < len(lines) <= LONGEST_LOOK, name


def test_the_page_lists_every_custom_property_with_its_default() -> None:
    [tokens] = re.findall(r"^:where\(:root\) \{\n(.*?)^\}", STYLE_SHEET, re.S | re.M)
    defaults = dict(re.findall(r"^  (--telltale-[\w-]+): (.*?);", tokens, re.M))
    assert len(defaults) > 25
    listed = set(re.findall(r"`(--telltale-[\w-]+)`", PAGE))
    assert listed == defaults.keys()
    assert [name for name, value in defaults.items() if name != "--telltale-shadow" and f"`{value}`" not in PAGE] == []


def test_the_page_lists_every_part_that_the_tray_the_toasts_and_the_messages_create() -> None:
    names = ("task-tray.js", "tray-row.js", "page-toasts.js", "task-messages.js")
    sources = [(ELEMENTS / name).read_text(encoding="utf-8") for name in names]
    classes = [found for source in sources for found in re.findall(r'className: "(telltale-[\w -]+)"', source)]
    roots = [found for source in sources for found in re.findall(r'createFromTemplate\(this, "([\w-]+)"', source)]
    created = {*" ".join(classes).split(), *(f"telltale-{root}" for root in roots)}
    assert {"telltale-tray-panel", "telltale-row", "telltale-toast"} <= created
    listed = set(re.findall(r"telltale-[\w-]+", PAGE.partition("## Parts")[2]))
    assert created - listed == set()
