"""docs/moving/consumer.md: its steps are applied to a copy of the example, and a report is built after each."""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.examples.example_site import CHANNELS, ExampleSite
from tests.servers import ROOT

PAGE = (ROOT / "docs" / "moving" / "consumer.md").read_text()
STEPS = re.split(r"^## \d\. .*$", PAGE, flags=re.M)[1:]
PATIENCE_MS = 40_000


def apply(step: str, project: Path) -> None:
    """Apply the diffs of one step. A hunk begins with `@@`, and its old lines must be in the file exactly once."""
    for diff in re.findall(r"^```diff\n(.*?)^```", step, re.S | re.M):
        for name, changes in re.findall(r"^--- (\S+)\n(.*?)(?=^--- |\Z)", diff, re.S | re.M):
            file = project / name
            text = file.read_text()
            for hunk in changes.split("@@\n")[1:]:
                lines = hunk.splitlines(keepends=True)
                old = "".join(line[1:] for line in lines if line[0] in " -")
                new = "".join(line[1:] for line in lines if line[0] in " +")
                assert text.count(old) == 1, f"{name}: {old}"
                text = text.replace(old, new)
            file.write_text(text)
    for name in re.findall(r"^Delete `([\w/.]+)`", step, re.M):
        (project / name).unlink()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the example, whose report takes half the time."""
    copy = tmp_path / "project"
    shutil.copytree(CHANNELS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    consumers = copy / "by_hand" / "consumers.py"
    consumers.write_text(consumers.read_text().replace("PAUSE_S = 0.2", "PAUSE_S = 0.1"))
    return copy


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    page.close()


def start(page: Page, site: ExampleSite) -> None:
    """Sign in, and open the page of a new report."""
    page.goto(site.url)
    page.get_by_role("button", name="Ada").click()
    page.get_by_role("button", name="New report by hand").click()


def expect_toast(page: Page, text: str) -> None:
    expect(page.locator(".toast", has_text=text)).to_be_visible(timeout=PATIENCE_MS)


def tasks(site: ExampleSite) -> list[tuple[str, str, int]]:
    """Return label, state and whether there is an owner, of each task."""
    [path] = site.directory.glob("*/example.sqlite3")
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT label, state, owner_id IS NOT NULL FROM telltale_taskstate").fetchall()


def tracked(page: Page, site: ExampleSite) -> None:
    page.get_by_role("button", name="Build the report").click()
    expect_toast(page, "20 of 40 pages")
    expect_toast(page, "Your report is ready.")
    assert tasks(site) in ([("Build the report", state, 0)] for state in ("running", "succeeded"))


def followed(page: Page, site: ExampleSite) -> None:
    page.wait_for_function("document.querySelector('#bar')?.value > 0")
    page.reload()
    expect_toast(page, "Build the report: finished.")
    assert page.locator("#bar").evaluate("bar => bar.value") == 1
    assert tasks(site) == [("Build the report", "succeeded", 1)]


def by_the_new_worker(page: Page, site: ExampleSite) -> None:
    followed(page, site)
    assert "Waiting for messages on by-hand-report; 1 at once." in site.log.read_text()


def shown_by_the_element(page: Page, site: ExampleSite) -> None:
    expect(page.locator("task-progress")).to_have_attribute("state", "succeeded", timeout=PATIENCE_MS)
    assert tasks(site) == [("Build the report", "succeeded", 1)]


@pytest.mark.service
@pytest.mark.parametrize(
    ("last", "expect_report"),
    [(2, tracked), (3, followed), (4, by_the_new_worker), (5, shown_by_the_element)],
)
def test_after_each_step_the_report_is_built(
    last: int, expect_report: Callable[[Page, ExampleSite], None], project: Path, page: Page, tmp_path: Path
) -> None:
    for step in STEPS[1:last]:
        apply(step, project)
    with ExampleSite(tmp_path, project) as site:
        start(page, site)
        expect_report(page, site)
        assert "Traceback" not in site.log.read_text()


def test_the_first_step_is_what_the_example_has() -> None:
    excerpts = re.findall(r"^```python\n# (\S+)\n(.*?)^```", STEPS[0], re.S | re.M)
    assert len(excerpts) == 2
    for name, code in excerpts:
        assert code in (CHANNELS / name).read_text()
