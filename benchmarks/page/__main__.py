"""Measures what a page costs a visitor, in headless Chromium, prints three tables, and writes var/bench/page.json.

    python -m benchmarks.page [--write-docs]

The site is the demo, once with the package as it is built, and once with the checkout's sources. Takes three minutes;
the build needs node.
"""

import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

from benchmarks.page import loading, moving_bars
from benchmarks.results.markdown import table, with_block
from benchmarks.rig.machine import description
from benchmarks.rig.paths import DOCS, RECORDS
from tests.browser.conftest import CHROMIUM
from tests.demo.site import Site
from tests.fresh.installs import build_wheel

RECORD: Final = RECORDS / "page.json"
PAGE: Final = DOCS / "performance.md"
BLOCK: Final = "page"
BARS: Final = (20, 200)
_FOLDER: Final = "telltale/bundle"
_BAR: Final = (f"{_FOLDER}/telltale.css", f"{_FOLDER}/telltale.js")
KINDS: Final = {
    "a bar": _BAR,
    "a bar and toasts": (*_BAR, f"{_FOLDER}/notices.js"),
    "a bar and a tray": (*_BAR, f"{_FOLDER}/task-tray.js"),
    "a bar, toasts and a tray": (*_BAR, f"{_FOLDER}/notices.js", f"{_FOLDER}/task-tray.js"),
}
"""The files of a built package that a page loads, by what the page shows."""


def main(arguments: Sequence[str]) -> None:
    """Measure, print, write the record."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with demo(is_built=False) as site:
            sources = loading.measure(browser, site)
        with demo(is_built=True) as site:
            built = loading.measure(browser, site)
            costs = [moving_bars.measure(browser, site, bars) for bars in BARS]
        chromium = browser.version
        browser.close()
    text = "\n\n".join([_files_table(built, sources), _times_table(built, sources), _bars_table(costs)])
    print(text)
    machine = f"{description()}, Chromium {chromium}"
    record = {"machine": machine, "built": asdict(built), "sources": asdict(sources), "bars": [*map(asdict, costs)]}
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=1))
    if "--write-docs" in arguments:
        PAGE.write_text(with_block(PAGE.read_text(), BLOCK, f"Measured on {machine}.\n\n{text}"))


@contextmanager
def demo(*, is_built: bool) -> Iterator[Site]:
    """The demo as real processes, with the package as it is built or as it is written."""
    with tempfile.TemporaryDirectory(prefix="telltale-bench-") as directory:
        site = Site(Path(directory))
        if is_built:
            with zipfile.ZipFile(build_wheel(Path(directory))) as wheel:
                wheel.extractall(Path(directory, "package"))
            site.environment["PYTHONPATH"] = f"{directory}/package{os.pathsep}{site.environment['PYTHONPATH']}"
        with site:
            yield site


def _files_table(built: loading.Loading, sources: loading.Loading) -> str:
    rows = [(kind, *_weight(built, files)) for kind, files in KINDS.items()]
    rows.append(("a bar, toasts and a tray, as sources in development", *_weight(sources, sources.gzip_bytes)))
    return table(("page with", "files", "gzip"), rows)


def _weight(figures: loading.Loading, files: Iterable[str]) -> tuple[str, str]:
    sizes = [figures.gzip_bytes[name] for name in files]
    return f"{len(sizes)}", f"{sum(sizes) / 1_024:.1f} KiB"


def _times_table(built: loading.Loading, sources: loading.Loading) -> str:
    rows = [
        (name, f"{figures.first_update_s:.2f} s", f"{figures.round_trips:.1f}")
        for name, figures in (("built package", built), ("sources, in development", sources))
    ]
    return table(("served", "first live update after the page", "round trips in it"), rows)


def _bars_table(costs: Sequence[moving_bars.Cost]) -> str:
    rows = [(f"{c.bars}", f"{c.script_per_update_s * 1e6:.0f} µs", f"{c.cpu_share:.0%} of a core") for c in costs]
    return table((f"bars, {moving_bars.UPDATES_PER_S} updates a second each", "script for an update", "CPU"), rows)


if __name__ == "__main__":
    main(sys.argv[1:])
