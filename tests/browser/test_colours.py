"""Light or dark follows the `color-scheme` that a site declares, in every state, and everything stays readable.

The style sheet alone, in a real Chromium: no server, no script of ours.
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

pytestmark = [pytest.mark.service, pytest.mark.timeout(120)]

ROOT = Path(__file__).parent.parent.parent
STYLE = (ROOT / "src/telltale/static/telltale/telltale.css").read_text()
BASE = (ROOT / "src/telltale/templates/telltale/base.html").read_text()

ADDRESS = "http://site.example/"

READABLE = 4.5
"""WCAG 2.2, 1.4.3: the least contrast of text."""
VISIBLE = 3.0
"""WCAG 2.2, 1.4.11: the least contrast of a bar."""

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
    "its switch at dark": (
        '<html data-theme="dark">',
        ":root { color-scheme: light } [data-theme=dark] { color-scheme: dark }",
        {"light": "dark", "dark": "dark"},
    ),
    "its switch at light": (
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
"""By what it declares: its beginning, its style, and which scheme it has for each of the system's."""

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
  const paper = document.createElement("canvas").getContext("2d")
  paper.drawImage(image, 0, 0)
  return [...paper.getImageData(0, 0, 1, 1).data.slice(0, 3)]
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
  const told = []
  for (const element of document.querySelectorAll(`${scope}, ${scope} *`)) {
    if (!element.checkVisibility()) continue
    const about = `${element.closest("[state]")?.getAttribute("state") ?? ""} ${element.tagName}.${element.className}`
    const tell = (kind, colour, under) => told.push({ kind, about, colour, contrast: contrast(colour, under) })
    const has = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim())
    if (has) tell("text", getComputedStyle(element).color, behind(element))
    const before = getComputedStyle(element, "::before")
    if (!["none", "normal"].includes(before.content)) tell("text", before.color, behind(element))
    if (element.matches("progress")) tell("bar", getComputedStyle(element).color, behind(element.parentElement))
  }
  return told
}
"""


@pytest.mark.parametrize("site_declares", SITES)
@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_sites_scheme_decides_whatever_the_system_has(browser: Browser, system: str, site_declares: str) -> None:
    start, style, schemes = SITES[site_declares]
    with shows(browser, f"{start}<style>{style}</style>{everything()}", color_scheme=system) as page:
        assert tokens(page) == expected(schemes[system])
        is_readable(page, at_least=100)
        assert page.locator("task-progress").first.evaluate("it => getComputedStyle(it).color") == rgb(
            TOKENS["text"][schemes[system] == "dark"]
        )


@pytest.mark.parametrize("system", ["light", "dark"])
def test_pages_of_our_own_follow_the_system(browser: Browser, system: str) -> None:
    plain = re.sub(r"{%.*?%}|{#.*?#}|{{.*?}}", "", BASE).replace("<main>", f'<main>{hint()}<div class="telltale-card">')
    with shows(browser, plain.replace("</main>", f"{content()}</div></main>"), color_scheme=system) as page:
        assert tokens(page) == expected(system)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == rgb(TOKENS["bg"][system == "dark"])
        is_readable(page, at_least=100)


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_demo_follows_the_system(browser: Browser, site: Site, system: str) -> None:
    context = browser.new_context(base_url=site.url, color_scheme=system, reduced_motion="reduce")  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/")
    page.locator("task-tray[running], task-tray .telltale-tray-button").first.wait_for()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == rgb(TOKENS["bg"][system == "dark"])
    is_readable(page, "body", at_least=15)
    context.close()


@pytest.mark.parametrize("system", ["light", "dark"])
@pytest.mark.parametrize("site_declares", ["nothing", "light dark", "its switch at dark"])
def test_forced_colours_and_print_are_readable_too(browser: Browser, system: str, site_declares: str) -> None:
    start, style, _ = SITES[site_declares]
    html = f"{start}<style>{style}</style>{everything()}"
    with shows(browser, html, color_scheme=system, forced_colors="active") as page:
        is_readable(page, at_least=100)
    with shows(browser, html, color_scheme=system) as page:
        page.emulate_media(media="print")
        is_readable(page, at_least=30)


def test_a_browser_without_light_dark_is_light_throughout(browser: Browser) -> None:
    # Such a browser skips what it is asked for by @supports, and takes what is for those that lack it.
    older = STYLE.replace("light-dark(", "unknown-function(")
    assert older != STYLE
    plain = re.sub(r"{%.*?%}|{#.*?#}|{{.*?}}", "", BASE).replace("<main>", f"<main>{content()}")
    with shows(browser, plain, style=older, color_scheme="dark") as page:
        assert tokens(page) == expected("light")
        is_readable(page, at_least=100)
        assert page.evaluate("getComputedStyle(document.body).colorScheme") == "light"


@contextmanager
def shows(browser: Browser, html: str, *, style: str = STYLE, **options: Any) -> Iterator[Page]:
    context = browser.new_context(reduced_motion="reduce", viewport={"width": 900, "height": 3000}, **options)
    page = context.new_page()
    # Not by `set_content`: an empty page has a dark background of its own where the system is dark.
    page.route(ADDRESS, lambda asked: asked.fulfill(body=html, content_type="text/html; charset=utf-8"))
    page.goto(ADDRESS)
    page.add_style_tag(content=style)
    page.evaluate("document.querySelector('[popover]').showPopover()")
    yield page
    context.close()


def tokens(page: Page) -> dict[str, str]:
    """Each token's colour as an element of the page gets it."""
    found: dict[str, str] = page.locator("main").evaluate(
        """(main, names) => {
          const probe = main.appendChild(document.createElement("i"))
          const colour = name => (probe.style.color = `var(--telltale-${name})`, getComputedStyle(probe).color)
          const found = Object.fromEntries(names.map(name => [name, colour(name)]))
          probe.remove()
          return found
        }""",
        list(TOKENS),
    )
    return found


def expected(scheme: str) -> dict[str, str]:
    return {name: rgb(pair[scheme == "dark"]) for name, pair in TOKENS.items()}


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"


def is_readable(page: Page, scope: str = "main", *, at_least: int) -> None:
    """Every text against what is painted behind it, and every bar; `at_least` so many of them."""
    told = page.evaluate(MEASURE, [scope, painted_in_the_corner(page)])
    assert len(told) >= at_least
    least = {"text": READABLE, "bar": VISIBLE}
    assert [it for it in told if it["contrast"] < least[it["kind"]]] == []


def painted_in_the_corner(page: Page) -> list[int]:
    """Red, green and blue of the page's first pixel, where no element of ours is: the browser's own background."""
    png = page.screenshot(clip={"x": 0, "y": 0, "width": 1, "height": 1})
    pixel: list[int] = page.evaluate(PIXEL, base64.b64encode(png).decode())
    return pixel


def everything() -> str:
    return f"<body><main>{content()}</main>"


def content() -> str:
    """All elements, as the templates and scripts write them, in all their states."""
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
