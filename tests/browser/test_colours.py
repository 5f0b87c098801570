"""Light or dark follows the `color-scheme` that the site declares, and all text stays readable in every state.

Most tests use the style sheet alone in a real Chromium, without server or scripts.
"""

import re

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.readable import ROOT, STYLE_SHEET, assert_readable, content, everything, shown
from tests.demo.site import Site

pytestmark = pytest.mark.service

BASE = (ROOT / "src/telltale/templates/telltale/base.html").read_text()

TOKENS = {
    "bg": ("#ffffff", "#14171c"),
    "surface": ("#f6f7f9", "#1d2128"),
    "raised": ("#ffffff", "#1d2128"),
    "text": ("#1b1f24", "#e8ebf0"),
    "muted": ("#5a626e", "#a3abb8"),
    "accent": ("#1d5fd0", "#7fb0ff"),
    "on-accent": ("#ffffff", "#14171c"),
    "ok": ("#18794e", "#5fd38d"),
    "warn": ("#8a5a00", "#f0b94d"),
    "bad": ("#c0272d", "#ff8f8a"),
    "track": ("#dfe3e8", "#323945"),
    "edge": ("#868e9a", "#727b89"),
}
"""Each token's colour, light and dark."""

SITES = {
    "nothing": ("<html>", "", {"light": "light", "dark": "light"}),
    "light dark": ("<html>", ":root { color-scheme: light dark }", {"light": "light", "dark": "dark"}),
    "a meta element": (
        '<html><meta name="color-scheme" content="light dark">',
        "",
        {"light": "light", "dark": "dark"},
    ),
    "light": ("<html>", ":root { color-scheme: light }", {"light": "light", "dark": "light"}),
    "a switch set to dark": (
        '<html data-theme="dark">',
        ":root { color-scheme: light } [data-theme=dark] { color-scheme: dark }",
        {"light": "dark", "dark": "dark"},
    ),
    "a switch set to light": (
        '<html data-theme="light">',
        ":root { color-scheme: light dark } [data-theme=light] { color-scheme: light }",
        {"light": "light", "dark": "light"},
    ),
    "a dark section": (
        "<html>",
        "main { color-scheme: dark; background: Canvas; color: CanvasText }",
        {"light": "dark", "dark": "dark"},
    ),
}
"""For each kind of site: the start of its HTML, its style, and which scheme applies for each of the system's."""


@pytest.mark.parametrize("declaration", SITES)
@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_sites_scheme_applies_not_the_systems(browser: Browser, system: str, declaration: str) -> None:
    start, style, schemes = SITES[declaration]
    with shown(browser, f"{start}<style>{style}</style>{everything()}", color_scheme=system) as page:
        assert tokens(page) == expected(schemes[system])
        assert_readable(page, at_least=100)
        assert page.locator("task-progress").first.evaluate("it => getComputedStyle(it).color") == rgb(
            TOKENS["text"][schemes[system] == "dark"]
        )


@pytest.mark.parametrize("system", ["light", "dark"])
def test_telltales_own_pages_follow_the_system(browser: Browser, system: str) -> None:
    plain = re.sub(r"{%.*?%}|{#.*?#}|{{.*?}}", "", BASE).replace("<main>", f'<main>{hint()}<div class="telltale-card">')
    with shown(browser, plain.replace("</main>", f"{content()}</div></main>"), color_scheme=system) as page:
        assert tokens(page) == expected(system)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == rgb(TOKENS["bg"][system == "dark"])
        assert_readable(page, at_least=100)


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_demo_follows_the_system(browser: Browser, site: Site, system: str) -> None:
    context = browser.new_context(base_url=site.url, color_scheme=system, reduced_motion="reduce")  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/")
    page.locator("task-tray[running], task-tray .telltale-tray-button").first.wait_for()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == rgb(TOKENS["bg"][system == "dark"])
    assert_readable(page, "body", at_least=15)
    context.close()


@pytest.mark.parametrize("system", ["light", "dark"])
@pytest.mark.parametrize("declaration", ["nothing", "light dark", "a switch set to dark"])
def test_forced_colours_and_print_are_readable(browser: Browser, system: str, declaration: str) -> None:
    start, style, _ = SITES[declaration]
    html = f"{start}<style>{style}</style>{everything()}"
    with shown(browser, html, color_scheme=system, forced_colors="active") as page:
        assert_readable(page, at_least=100)
    with shown(browser, html, color_scheme=system) as page:
        page.emulate_media(media="print")
        assert_readable(page, at_least=30)


def test_a_browser_without_light_dark_shows_everything_light(browser: Browser) -> None:
    # With an unknown function, Chromium takes the branches of @supports for browsers without light-dark().
    fallback = STYLE_SHEET.replace("light-dark(", "unknown-function(")
    assert fallback != STYLE_SHEET
    plain = re.sub(r"{%.*?%}|{#.*?#}|{{.*?}}", "", BASE).replace("<main>", f"<main>{content()}")
    with shown(browser, plain, style=fallback, color_scheme="dark") as page:
        assert tokens(page) == expected("light")
        assert_readable(page, at_least=100)
        assert page.evaluate("getComputedStyle(document.body).colorScheme") == "light"


def tokens(page: Page) -> dict[str, str]:
    """Return each token's colour, as computed for an element of the page."""
    colours: dict[str, str] = page.locator("main").evaluate(
        """(main, names) => {
          const probe = main.appendChild(document.createElement("i"))
          const colour = name => (probe.style.color = `var(--telltale-${name})`, getComputedStyle(probe).color)
          const colours = Object.fromEntries(names.map(name => [name, colour(name)]))
          probe.remove()
          return colours
        }""",
        list(TOKENS),
    )
    return colours


def expected(scheme: str) -> dict[str, str]:
    return {name: rgb(pair[scheme == "dark"]) for name, pair in TOKENS.items()}


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"


def hint() -> str:
    return '<p class="telltale-hint"><a href="#">All your tasks</a></p><p class="telltale-hint">You can leave.</p>'
