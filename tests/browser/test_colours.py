"""Light or dark follows the `color-scheme` that the site declares, and all text stays readable in every state.

Most tests use the style sheet alone in a real Chromium, without server or scripts.
"""

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.demo.site import Site

pytestmark = pytest.mark.service

ROOT = Path(__file__).parent.parent.parent
STYLE_SHEET = (ROOT / "src/telltale/static/telltale/telltale.css").read_text()
BASE = (ROOT / "src/telltale/templates/telltale/base.html").read_text()

URL = "http://site.example/"

TEXT_CONTRAST = 4.5
"""WCAG 2.2, 1.4.3: the minimum contrast of text."""
BAR_CONTRAST = 3.0
"""WCAG 2.2, 1.4.11: the minimum contrast of a bar."""

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

STATES = (
    *(("queued", ""), ("running", "ok"), ("running", "quiet"), ("running", "slow"), ("running", "stalled")),
    *(("retrying", ""), ("succeeded", ""), ("failed", ""), ("cancelled", ""), ("lost", "")),
)
LEVELS = ("info", "success", "warning", "error")

PIXEL = """
async png => {
  const image = new Image()
  image.src = `data:image/png;base64,${png}`
  await image.decode()
  const context = document.createElement("canvas").getContext("2d")
  context.drawImage(image, 0, 0)
  return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)]
}
"""

MEASURE = """
([scope, canvas]) => {
  for (const animation of document.getAnimations()) animation.finish()
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number)
  const over = ([r, g, b, a = 1], under) => [r, g, b].map((part, i) => part * a + under[i] * (1 - a))
  const background = element => numbers(getComputedStyle(element).backgroundColor)
  const behind = element => element ? over(background(element), behind(element.parentElement)) : canvas
  const light = colour => {
    const linear = part => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4
    const [r, g, b] = colour.map(part => linear(part / 255))
    return .2126 * r + .7152 * g + .0722 * b
  }
  const contrast = (colour, under) => {
    const [a, b] = [light(over(numbers(colour), under)), light(under)].sort((a, b) => b - a)
    return (a + .05) / (b + .05)
  }
  const measured = []
  for (const element of document.querySelectorAll(`${scope}, ${scope} *`)) {
    if (!element.checkVisibility()) continue
    const about = `${element.closest("[state]")?.getAttribute("state") ?? ""} ${element.tagName}.${element.className}`
    const measure = (kind, colour, under) => measured.push({ kind, about, colour, contrast: contrast(colour, under) })
    const hasText = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim())
    if (hasText) measure("text", getComputedStyle(element).color, behind(element))
    const before = getComputedStyle(element, "::before")
    if (!["none", "normal"].includes(before.content)) measure("text", before.color, behind(element))
    if (element.matches("progress")) measure("bar", getComputedStyle(element).color, behind(element.parentElement))
  }
  return measured
}
"""


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


@contextmanager
def shown(browser: Browser, html: str, *, style: str = STYLE_SHEET, **options: Any) -> Iterator[Page]:
    context = browser.new_context(reduced_motion="reduce", viewport={"width": 900, "height": 3000}, **options)
    page = context.new_page()
    # `set_content` would not do: on a dark system, Chromium gives an empty page a dark background.
    page.route(URL, lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"))
    page.goto(URL)
    page.add_style_tag(content=style)
    page.evaluate("document.querySelector('[popover]').showPopover()")
    yield page
    context.close()


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


def assert_readable(page: Page, scope: str = "main", *, at_least: int) -> None:
    """Compare the colour of every text and bar with that behind it; `at_least`: how many there are at least."""
    measured = page.evaluate(MEASURE, [scope, corner_colour(page)])
    assert len(measured) >= at_least
    minimum = {"text": TEXT_CONTRAST, "bar": BAR_CONTRAST}
    assert [it for it in measured if it["contrast"] < minimum[it["kind"]]] == []


def corner_colour(page: Page) -> list[int]:
    """Return red, green and blue of the page's first pixel, which no element covers: the browser's own background."""
    png = page.screenshot(clip={"x": 0, "y": 0, "width": 1, "height": 1})
    pixel: list[int] = page.evaluate(PIXEL, base64.b64encode(png).decode())
    return pixel


def everything() -> str:
    return f"<body><main>{content()}</main>"


def content() -> str:
    """Return all elements as the templates and scripts write them, in all states."""
    return (
        "".join(task(state, health) for state, health in STATES)
        + '<task-tray><button class="telltale-tray-button">Your tasks <span class="telltale-count">3</span></button>'
        + '<div popover class="telltale-tray-panel"><div class="telltale-top"><p class="telltale-label">Your tasks</p>'
        + '<button class="telltale-dismiss">×</button></div><ul class="telltale-rows">'
        + "".join(row(state, health) for state, health in STATES)
        + '</ul><p class="telltale-detail">Nothing here</p><button class="telltale-clear">Clear</button></div>'
        + f"</task-tray><task-toasts>{''.join(map(toast, LEVELS))}"
        + '<button class="telltale-more">and 4 more</button></task-toasts>'
    )


def task(state: str, health: str) -> str:
    return f"""<task-progress state="{state}" health="{health}">
      <div class="telltale-top"><p class="telltale-label"><a href="#">Import</a></p>
        <span class="telltale-line">offline</span><span class="telltale-figure">40%</span></div>
      <progress class="telltale-bar" max="1" value=".4"></progress>
      <p class="telltale-status">{state} {health}</p><p class="telltale-detail">12,400 of 28,000</p>
      <p class="telltale-note">That did not reach the server.</p>
      <div class="telltale-actions"><a class="telltale-result" href="#">Open result</a>
        <form class="telltale-cancel"><button>Cancel</button></form>
        <form class="telltale-cancel"><button disabled>Cancel</button></form>
        <form class="telltale-retry"><button>Try again</button></form></div></task-progress>"""


def row(state: str, health: str) -> str:
    return f"""<li class="telltale-row" state="{state}" health="{health}">
      <div class="telltale-top"><a href="#" class="telltale-label">Import</a>
        <span class="telltale-figure">40%</span></div>
      <progress class="telltale-bar" max="1" value=".4"></progress>
      <p class="telltale-status">{state} {health}</p></li>"""


def toast(level: str) -> str:
    return f"""<div class="telltale-toast" level="{level}"><p>Export contacts. <a href="#">Open</a></p>
      <button class="telltale-dismiss">×</button></div>"""


def hint() -> str:
    return '<p class="telltale-hint"><a href="#">All your tasks</a></p><p class="telltale-hint">You can leave.</p>'
