"""Each documented `pip install` line suffices for its page: in an environment of its own, with a real browser."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import BROWSER_MESSAGES, browser, opening_contexts
from tests.fresh.installs import Environment, build_wheel, documented
from tests.fresh.project import Project
from tests.fresh.uses import USES
from tests.servers import Postgres, Redis, free_port, running

__all__ = ["browser"]

pytestmark = [pytest.mark.service, pytest.mark.timeout(600)]

FAILURE = re.compile(r"(?s)(Traceback| failed: |service refused).*")
"""How a process logs that its broker fails. The site and its tasks would continue."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running(Postgres) as server:
        yield server


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """Each call opens a page of a site. Errors and warnings in it fail the test."""
    contexts = opening_contexts(browser, "", BROWSER_MESSAGES)
    open_context: Callable[..., BrowserContext] = next(contexts)
    yield lambda url: open_context(base_url=url).new_page()
    assert next(contexts, None) is None


def test_each_documented_line_has_a_test() -> None:
    assert sorted(documented()) == sorted(USES)


@pytest.mark.parametrize("line", USES)
def test_a_bar_moves_after_the_lines_of_readme_and_page(
    line: str,
    wheel: Path,
    tmp_path: Path,
    open_page: Callable[[str], Page],
    request: pytest.FixtureRequest,
) -> None:
    use = USES[line]
    addresses = {"REDIS": "redis://localhost:6379/0", "PORT": str(free_port()), "OTHER_PORT": str(free_port())}
    if use.needs_redis:
        redis: Redis = request.getfixturevalue("redis")
        redis.forget()
        addresses["REDIS"] = redis.url
    if use.needs_postgres:
        addresses["POSTGRES_PORT"] = str(request.getfixturevalue("postgres").port)
    (tmp_path / "home").mkdir()
    project = Project(tmp_path / "home", Environment(tmp_path / "environment", line, wheel), name=use.project)
    workers = project.follow(use.page, {"redis://localhost:6379/0": addresses["REDIS"]})
    project.set(use.settings_with(addresses), use.urls)
    project.run("python manage.py migrate")
    assert "no issues" in project.run("python manage.py check")
    port = int(addresses["PORT"])
    with ExitStack() as stack:
        commands = [(command, int(at)) for command, at in use.servers_at(addresses)]
        logs = [
            stack.enter_context(project.running(*command)) for command in [*commands, *((w, None) for w in workers)]
        ]
        assert_bar_moves(open_page(f"http://127.0.0.1:{port}"), project, connected=use.connected)
        assert [failure[0] for log in logs if (failure := FAILURE.search(log.read_text()))] == []


def assert_bar_moves(page: Page, project: Project, *, connected: str) -> None:
    """Start the page's task. See its bar at the half and at the end, without a reload, also on a page of the site.

    `connected`: the bar's attribute, which tells how the page hears of the task.
    """
    page.goto("/upload/")
    task = page.url.rstrip("/").rpartition("/")[2]
    own = page.context.new_page()
    own.goto(f"/own/{task}/")
    elements = [shown.locator("main task-progress") for shown in (page, own)]
    for shown, element in zip((page, own), elements, strict=True):
        shown.evaluate("window.wasNotReloaded = true")
        expect(element.locator("progress")).to_have_attribute("value", re.compile(r"0\.5"))
        expect(element).to_have_attribute("connected", connected)
    project.release()
    for shown, element in zip((page, own), elements, strict=True):
        expect(element).to_have_attribute("state", "succeeded")
        assert element.locator("progress").evaluate("bar => bar.position") == 1
        assert shown.evaluate("window.wasNotReloaded") is True
