"""Takes the pictures of docs/images from the demo: `python -m tests.browser.pictures`."""

import re
import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from demo.airports import samples
from tests.browser.conftest import CHROMIUM
from tests.browser.steps import upload
from tests.demo.site import Site

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def main() -> None:
    """Write `demo.png`: the page of a running import, in its second step, with the time left."""
    with tempfile.TemporaryDirectory() as directory, Site(Path(directory)) as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(
            base_url=site.url, viewport={"width": 880, "height": 400}, device_scale_factor=2, reduced_motion="reduce"
        )
        upload(page, "".join(samples.airports()).encode())
        bar = page.locator("main task-progress").first
        expect(bar.locator(".telltale-figure")).to_have_text(re.compile(r"[2-9]\d%"), timeout=120_000)
        expect(bar.locator(".telltale-detail")).to_contain_text("left", timeout=120_000)
        page.screenshot(path=IMAGES / "demo.png")
        browser.close()


if __name__ == "__main__":
    main()
