"""All elements in all states as plain markup, and how readable a page with them is, in a real Chromium."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parent.parent.parent
STYLE_SHEET = (ROOT / "src/telltale/static/telltale/telltale.css").read_text()

URL = "http://site.example/"

TEXT_CONTRAST = 4.5
"""WCAG 2.2, 1.4.3: the minimum contrast of text."""
BAR_CONTRAST = 3.0
"""WCAG 2.2, 1.4.11: the minimum contrast of a bar."""

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
  const canvas2d = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true })
  // By a pixel, so that a colour may be written in any way.
  const numbers = colour => {
    canvas2d.clearRect(0, 0, 1, 1)
    canvas2d.fillStyle = colour
    canvas2d.fillRect(0, 0, 1, 1)
    const [r, g, b, a] = canvas2d.getImageData(0, 0, 1, 1).data
    return [r, g, b, a / 255]
  }
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
