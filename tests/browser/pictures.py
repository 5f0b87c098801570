"""Takes the pictures of docs/images, of the demo and of the admin: `python -m tests.browser.pictures`."""

import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, expect, sync_playwright

from demo.airports import samples
from tests.browser.admin_site import LOOKS, admin_site
from tests.browser.conftest import CHROMIUM
from tests.browser.steps import upload
from tests.demo.site import Site

IMAGES = Path(__file__).parents[2] / "docs" / "images"


HEIGHTS: Final = {"list": 640, "story": 1_180, "workers": 420, "durations": 760}
"""Of the pictures of the admin, in CSS pixels."""
PICTURES: Final = (
    *(("django", "list", "light"), ("django", "story", "light"), ("django", "durations", "dark")),
    *(("unfold", "list", "dark"), ("unfold", "workers", "light")),
)
"""Look, page and colour scheme of those in docs/admin.md."""


def main() -> None:
    """Write all pictures, or those of the command line: `demo`, `admin`."""
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for picture in sys.argv[1:] or ("demo", "admin"):
            {"demo": demo, "admin": admin}[picture](browser, Path(directory))
        browser.close()


def demo(browser: Browser, directory: Path) -> None:
    """Write `demo.png`: the page of a running import, in its second step, with the time left."""
    with Site(directory) as site:
        page = browser.new_page(
            base_url=site.url, viewport={"width": 880, "height": 400}, device_scale_factor=2, reduced_motion="reduce"
        )
        upload(page, "".join(samples.airports()).encode())
        bar = page.locator("main task-progress").first
        expect(bar.locator(".telltale-figure")).to_have_text(re.compile(r"[2-9]\d%"), timeout=120_000)
        expect(bar.locator(".telltale-detail")).to_contain_text("left", timeout=120_000)
        page.screenshot(path=IMAGES / "demo.png")


def admin(browser: Browser, directory: Path) -> None:
    """Write `admin-….png`: the pages of `PICTURES`."""
    for look in LOOKS:
        with admin_site(directory, look) as site:
            for name, scheme in ((name, scheme) for its_look, name, scheme in PICTURES if its_look == look):
                context = browser.new_context(
                    base_url=site.url,
                    color_scheme=scheme,  # type: ignore[arg-type]
                    viewport={"width": 1_280, "height": HEIGHTS[name]},
                    reduced_motion="reduce",
                )
                context.add_cookies([site.cookie()])
                page = context.new_page()
                page.goto(site.path(name))
                page.wait_for_load_state("networkidle")
                page.screenshot(path=IMAGES / f"admin-{look}-{name}-{scheme}.png")
                context.close()


if __name__ == "__main__":
    main()
