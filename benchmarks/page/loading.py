"""What a page loads of Telltale's, and when it shows the first live update, over a line with a long round trip."""

import gzip
import statistics
from dataclasses import dataclass
from typing import Final

from playwright.sync_api import Browser, Page, Response

from benchmarks.page.slow_line import slow_line
from demo.airports import samples
from tests.browser.steps import upload, wait_until
from tests.demo.site import Site

ROUND_TRIP_S: Final = 0.15
LOADS: Final = 5
FIRST_UPDATE: Final = """
  document.addEventListener("telltale:change", () => {
    const [page] = performance.getEntriesByType("navigation")
    window.firstUpdate ??= (performance.now() - page.responseEnd) / 1000
  })
"""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """The figures of one way to serve the files."""

    files: int
    gzip_bytes: int
    first_update_s: float
    """From the last byte of the page to the first live update; the median of the loads."""


def measure(browser: Browser, site: Site) -> Loading:
    """Load the page of a running task several times, each time without a cache."""
    with slow_line(site.port, ROUND_TRIP_S) as url:
        visitor = browser.new_context(base_url=site.url)
        start = visitor.new_page()
        upload(start, "".join(samples.airports()).encode())
        task, cookies = start.url.removeprefix(site.url), visitor.cookies()
        visitor.close()
        files: dict[str, bytes] = {}
        times = []
        for _load in range(LOADS):
            context = browser.new_context(base_url=url)
            context.add_cookies([{"name": c["name"], "value": c["value"], "url": url} for c in cookies])
            times.append(_load_page(context.new_page(), task, files))
            context.close()
    return Loading(
        files=len(files),
        gzip_bytes=sum(len(gzip.compress(content, 9)) for content in files.values()),
        first_update_s=statistics.median(times),
    )


def _load_page(page: Page, path: str, files: dict[str, bytes]) -> float:
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response) if "/static/telltale/" in response.url else None)
    page.add_init_script(FIRST_UPDATE)
    page.goto(path)
    wait_until(page, lambda: page.evaluate("window.firstUpdate > 0"))
    files |= {response.url.rpartition("/static/")[2]: response.body() for response in responses}
    return float(page.evaluate("window.firstUpdate"))
