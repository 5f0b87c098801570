"""What a page loads of Telltale's, and when it shows the first live update, over a line with a long round trip."""

import gzip
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from playwright.sync_api import Browser, Page, Response

from demo.airports import samples
from tests.browser.steps import upload, wait_until
from tests.demo.site import Site
from tests.fault_proxy import FaultProxy

ROUND_TRIP_S: Final = 0.15
LOADS: Final = 5
LONG_ROUND_TRIP_S: Final = 0.45
LONG_LOADS: Final = 3
FIRST_UPDATE: Final = """
  document.addEventListener("telltale:change", () => {
    const [page] = performance.getEntriesByType("navigation")
    window.firstUpdate ??= (performance.now() - page.responseEnd) / 1000
  })
"""

IS_COMPLETE: Final = """
  window.firstUpdate > 0 && ["task-tray", "task-toasts"].every(name => customElements.get(name))
"""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """The figures of one way to serve the files."""

    gzip_bytes: Mapping[str, int]
    """The size of each file."""
    first_update_s: float
    """From the last byte of the page to the first live update; the median of the loads."""
    round_trips: float
    """How many round trips this takes: what a longer line adds, so the work of the machine is not in it."""


def measure(browser: Browser, site: Site) -> Loading:
    """Load the page of a running task several times, each time without a cache, over a short line and a long one."""
    files: dict[str, bytes] = {}
    times = _load_over(browser, site, ROUND_TRIP_S, LOADS, files)
    long_times = _load_over(browser, site, LONG_ROUND_TRIP_S, LONG_LOADS, files)
    return Loading(
        gzip_bytes={name: len(gzip.compress(content, 9)) for name, content in sorted(files.items())},
        first_update_s=statistics.median(times),
        # Other work of the machine only adds to a time, so the fastest loads tell most.
        round_trips=(min(long_times) - min(times)) / (LONG_ROUND_TRIP_S - ROUND_TRIP_S),
    )


def _load_over(browser: Browser, site: Site, round_trip_s: float, loads: int, files: dict[str, bytes]) -> list[float]:
    with FaultProxy(site.port, delay_s=round_trip_s / 2) as line:
        visitor = browser.new_context(base_url=site.url)
        start = visitor.new_page()
        upload(start, "".join(samples.airports()).encode())
        task, cookies = start.url.removeprefix(site.url), visitor.cookies()
        visitor.close()
        times = []
        for _load in range(loads):
            context = browser.new_context(base_url=line.url)
            context.add_cookies([{"name": c["name"], "value": c["value"], "url": line.url} for c in cookies])
            times.append(_load_page(context.new_page(), task, files))
            context.close()
    return times


def _load_page(page: Page, path: str, files: dict[str, bytes]) -> float:
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response) if _is_ours(response.url) else None)
    page.add_init_script(FIRST_UPDATE)
    page.goto(path)
    wait_until(page, lambda: page.evaluate(IS_COMPLETE))
    files |= {response.url.rpartition("/static/")[2]: response.body() for response in responses}
    return float(page.evaluate("window.firstUpdate"))


def _is_ours(url: str) -> bool:
    return "/static/telltale/" in url and url.endswith((".js", ".css"))
