"""The looks of docs/themes.md on the real style sheets; `python -m tests.docs.themes` takes the page's pictures."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Final

from django.conf import settings
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import CHROMIUM
from tests.browser.readable import shown
from tests.demo.site import Site
from tests.servers import ROOT

PAGE: Final = (ROOT / "docs" / "themes.md").read_text()
BLOCKS: Final = dict(re.findall(r"^```css\n/\* ([\w. ]+) \*/\n(.*?)^```", PAGE, re.S | re.M))
FRAMEWORKS: Final = ROOT / "tests" / "docs" / "frameworks"
MODULES: Final = FRAMEWORKS / "node_modules"

COMPILE: Final = """
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { compile } from "tailwindcss"
const { resolve } = createRequire(import.meta.url)
const loadStylesheet = async id => {
  const path = resolve(`${id}/index.css`)
  return { path, base: ".", content: readFileSync(path, "utf-8") }
}
const [, look, classes] = process.argv
const compiler = await compile(`@import "tailwindcss";\\n${look}`, { loadStylesheet })
console.log(compiler.build(classes.split(" ")))
"""
"""As Tailwind's own command does it, without the search for class names in files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Theme:
    """A theme, and what its own components have that Telltale's elements take over."""

    html: dict[str, str]
    """The start of the page, by scheme."""
    body: str
    button: str
    """A button of the theme."""
    colours: dict[str, dict[str, str]]
    """Telltale's colours as the theme names them, by scheme."""

    def style(self, name: str) -> str:
        """Return the theme's style sheet, with the look."""
        look = BLOCKS[f"{name}.css"]
        if name == "tailwind":
            return tailwind(look, " ".join([self.body, self.button, *re.findall(r'"(.*?)"', str(self.html))]))
        return f"{sheet(name)}\n{look}"


THEMES: Final = {
    "bootstrap": Theme(
        html={scheme: f'data-bs-theme="{scheme}"' for scheme in ("light", "dark")},
        body="",
        button="btn btn-outline-primary",
        colours={
            "light": {"bg": "--bs-white", "accent": "--bs-blue", "ok": "--bs-green", "bad": "--bs-red"},
            "dark": {"bg": "--bs-dark", "text": "--bs-gray-300", "accent": "--bs-link-color"},
        },
    ),
    "unfold": Theme(
        html={scheme: f'class="{scheme}"' for scheme in ("light", "dark")},
        body="antialiased bg-base-50 font-sans text-sm dark:bg-base-900",
        button="rounded-default",
        colours={
            "light": {
                "text": "--color-font-default-light",
                "accent": "--color-primary-600",
                "edge": "--color-base-500",
            },
            "dark": {"bg": "--color-base-900", "text": "--color-font-default-dark", "accent": "--color-primary-400"},
        },
    ),
    "tailwind": Theme(
        html={scheme: f'class="scheme-{scheme}"' for scheme in ("light", "dark")},
        body="bg-white dark:bg-gray-900",
        button="rounded-lg",
        colours={
            "light": {"bg": "--color-white", "text": "--color-gray-900", "accent": "--color-blue-700"},
            "dark": {"bg": "--color-gray-900", "text": "--color-gray-100", "accent": "--color-blue-400"},
        },
    ),
}


@cache
def sheet(name: str) -> str:
    """Return the style sheet that the theme is delivered with."""
    if name == "bootstrap":
        return (MODULES / "bootstrap" / "dist" / "css" / "bootstrap.min.css").read_text()
    from unfold.settings import CONFIG_DEFAULTS  # It needs Django's settings.

    spec = find_spec("unfold")
    assert spec is not None
    assert spec.origin is not None
    styles = (Path(spec.origin).parent / "static" / "unfold" / "css" / "styles.css").read_text()
    # Its pages write their colours into a style element of their own.
    colours = "".join(
        f"--color-{kind}-{weight}: {colour};"
        for kind, weights in CONFIG_DEFAULTS["COLORS"].items()
        for weight, colour in weights.items()
    )
    return f"{styles}\n:root {{ {colours} }}"


@cache
def tailwind(look: str, classes: str) -> str:
    """Compile a style sheet with this look, for a page that uses these classes."""
    command = ["node", "--input-type=module", "-e", COMPILE, "--", look, classes]
    finished = subprocess.run(command, cwd=FRAMEWORKS, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@contextmanager
def themed(browser: Browser, name: str, scheme: str, markup: str) -> Iterator[Page]:
    """Open a page of this theme with `markup`."""
    theme = THEMES[name]
    html = (
        f'<html {theme.html[scheme]}><head><style>{theme.style(name)}</style></head><body class="{theme.body}">{markup}'
    )
    with shown(browser, html, color_scheme=scheme) as page:
        yield page


def main() -> None:
    """Write `docs/images/look-….png`: two samples of the gallery in each theme."""
    settings.configure()
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        site = Site(Path(directory))
        site.environment |= {"DEMO_DEBUG": "1"}
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with site:
            for name, scheme in product(THEMES, ("light", "dark")):
                page = browser.new_page(
                    base_url=site.url,
                    viewport={"width": 760, "height": 240},
                    color_scheme=scheme,
                    reduced_motion="reduce",
                    bypass_csp=True,
                )
                take_picture(page, name, scheme)
                page.close()
        browser.close()


def take_picture(page: Page, name: str, scheme: str) -> None:
    """Write the picture of one theme."""
    page.goto("/telltale/gallery/")
    expect(page.locator("task-progress[connected]").first).to_be_visible()
    theme = THEMES[name]
    page.evaluate(
        """([titles, html, body]) => {
          const tasks = [...document.querySelectorAll("figure")]
            .filter(figure => titles.includes(figure.querySelector("figcaption").textContent))
            .map(figure => figure.querySelector("task-progress"))
          document.body.className = body
          document.body.style.cssText = "display: grid; grid-template-columns: 1fr 1fr; gap: 40px; padding: 24px"
          document.body.replaceChildren(...tasks)
          document.querySelector('meta[name="color-scheme"]').remove()
          for (const [, attribute, value] of html.matchAll(/([\\w-]+)="(.*?)"/g))
            document.documentElement.setAttribute(attribute, value)
        }""",
        [["Time left", "Failed, in the task's words"], theme.html[scheme], theme.body],
    )
    page.add_style_tag(content=theme.style(name))
    page.screenshot(path=ROOT / "docs" / "images" / f"look-{name}-{scheme}.png")


if __name__ == "__main__":
    main()
