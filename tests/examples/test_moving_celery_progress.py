"""docs/moving/celery-progress.md: both versions of its code run, and its table names what there is."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery_progress.backend import BaseProgressRecorder
from playwright.sync_api import Browser, expect

import telltale
from telltale.worker.tracker import Tracker
from tests.docs.moving_site import MovingSite, blocks
from tests.servers import ROOT, Redis, running

PAGE = (ROOT / "docs" / "moving" / "celery-progress.md").read_text()
PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.mark.service
def test_before_the_bar_moves_and_the_result_is_shown(browser: Browser, redis: Redis, tmp_path: Path) -> None:
    redis.forget()
    with MovingSite(blocks(PAGE, "before"), tmp_path, redis) as site:
        page = browser.new_page()
        page.goto(site.url)
        expect(page.locator("#progress-bar-message")).to_contain_text("of 100 processed", timeout=PATIENCE_MS)
        expect(page.locator("#log")).to_have_text("Imported 100 contacts", timeout=PATIENCE_MS)
        page.close()


@pytest.mark.service
def test_after_the_bar_moves_and_the_result_is_shown(browser: Browser, redis: Redis, tmp_path: Path) -> None:
    redis.forget()
    with MovingSite(blocks(PAGE, "after"), tmp_path, redis) as site:
        page = browser.new_page()
        page.goto(site.url)
        expect(page.locator("task-progress")).to_contain_text("of 100 contacts", timeout=PATIENCE_MS)
        expect(page.locator("#log")).to_have_text("Imported 100 contacts", timeout=PATIENCE_MS)
        page.close()


def test_both_versions_have_all_their_files() -> None:
    common = {"settings.py", "asgi.py", "shop/tasks.py", "shop/views.py", "shop/templates/shop/import.html"}
    assert set(blocks(PAGE, "before")) == common
    assert set(blocks(PAGE, "after")) == common | {"urls.py"}


def test_the_table_names_what_both_libraries_have() -> None:
    old, new = zip(*re.findall(r"^\| (`.*?|a view.*?) \| (.*) \|$", PAGE, re.M), strict=True)
    for method in re.findall(r"recorder\.(\w+)\(", " ".join(old)):
        assert callable(getattr(BaseProgressRecorder, method))
    script = (
        Path(inspect.getfile(BaseProgressRecorder)).parent / "static/celery_progress/celery_progress.js"
    ).read_text()
    for option in re.findall(r"`(on[A-Z]\w+|barColors|defaultMessages|pollInterval)", " ".join(old)):
        assert f"options.{option}" in script
    for name in re.findall(r"telltale\.(\w+)\(", " ".join(new)):
        assert name in telltale.__all__
    for attribute in re.findall(r"(?:task|current\(\))\.(\w+)", " ".join(new)):
        assert attribute in Tracker.__slots__
    style = (ROOT / "src/telltale/static/telltale/telltale.css").read_text()
    for token in re.findall(r"--telltale-[a-z]+", " ".join(new)):
        assert f"{token}:" in style
    element = (ROOT / "src/telltale/static/telltale/elements/task-progress.js").read_text()
    for event in re.findall(r"telltale:\w+", " ".join(new)):
        assert f'"{event}"' in element
