"""Each documented `pip install` line suffices for its page: in an environment of its own, with a real browser."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import BROWSER_MESSAGES, browser, opening_contexts
from tests.fresh.installs import Environment, build_wheel
from tests.fresh.project import Project
from tests.servers import Redis, free_port, running

__all__ = ["browser"]

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]

PAGES = {
    "django-telltale": "runners/threads-and-commands.md",
    "django-telltale[celery]": "runners/celery.md",
    "django-telltale[tasks]": "runners/django-tasks.md",
    "django-telltale[rq]": "runners/rq.md",
    "django-telltale[dramatiq]": "runners/dramatiq.md",
    "django-telltale[huey]": "runners/huey.md",
    "django-telltale[q2]": "runners/django-q.md",
    "django-telltale[channels]": "runners/channels.md",
}
"""The pages of runners, by the words after `pip install`."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """Each call opens a page of a site. Errors and warnings in it fail the test."""
    contexts = opening_contexts(browser, "", BROWSER_MESSAGES)
    open_context: Callable[..., BrowserContext] = next(contexts)
    yield lambda url: open_context(base_url=url).new_page()
    assert next(contexts, None) is None


@pytest.mark.parametrize("line", PAGES)
def test_a_bar_moves_after_the_lines_of_readme_and_page(
    line: str, wheel: Path, redis: Redis, tmp_path: Path, open_page: Callable[[str], Page]
) -> None:
    redis.forget()
    environment = Environment(tmp_path / "environment", line, wheel)
    (tmp_path / "home").mkdir()
    project = Project(tmp_path / "home", environment)
    [*workers] = project.follow(PAGES[line], {"redis://localhost:6379/0": redis.url})
    project.run("python manage.py migrate")
    assert "no issues" in project.run("python manage.py check")
    port = free_port()
    with ExitStack() as stack:
        commands = [(f"python manage.py runserver {port}", port), *((worker, None) for worker in workers)]
        logs = [stack.enter_context(project.running(*command)) for command in commands]
        assert_bar_moves(open_page(f"http://127.0.0.1:{port}"), project)
        assert [log.read_text() for log in logs if "Traceback" in log.read_text()] == []


def assert_bar_moves(page: Page, project: Project) -> None:
    """Start the page's task. See its bar at the half and at the end, without a reload, also on a page of the site."""
    page.goto("/upload/")
    task = page.url.rstrip("/").rpartition("/")[2]
    own = page.context.new_page()
    own.goto(f"/own/{task}/")
    elements = [shown.locator("main task-progress") for shown in (page, own)]
    for shown, element in zip((page, own), elements, strict=True):
        shown.evaluate("window.wasNotReloaded = true")
        expect(element.locator("progress")).to_have_attribute("value", re.compile(r"0\.5"))
    project.release()
    for shown, element in zip((page, own), elements, strict=True):
        expect(element).to_have_attribute("state", "succeeded")
        assert element.locator("progress").evaluate("bar => bar.position") == 1
        assert shown.evaluate("window.wasNotReloaded") is True
