"""The example with `django-celery-results` runs: its page, its worker, both states of a task."""

import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from telltale.testing.runners import wait_until
from tests.servers import ROOT, Redis, await_text, free_port, running

pytestmark = pytest.mark.service

EXAMPLE = ROOT / "examples" / "celery_results"


class Site:
    """The example's web server and worker, with a database of their own, and a browser without JavaScript."""

    def __init__(self, directory: Path, redis_url: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}/"
        paths = os.pathsep.join([str(EXAMPLE), str(ROOT / "src")])
        self._env = {
            **os.environ,
            "PYTHONPATH": paths,
            "DJANGO_SETTINGS_MODULE": "site_settings",
            "BROKER_URL": redis_url,
            "EXAMPLE_DB": str(directory / "example.sqlite3"),
        }
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self._browser = _browser()
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=EXAMPLE, env=self._env, check=True)
        self._start("site", "manage.py", "runserver", "--noreload", urllib.parse.urlsplit(self.url).netloc)
        wait_until(self._answers, "the site answers")

    def start_worker(self) -> None:
        """Start the worker."""
        self._start("worker", "-m", "celery", "-A", "tasks", "worker", "-c", "1", "-l", "INFO")
        await_text(self._directory / "worker.log", " ready.", self._processes[-1])

    def _start(self, name: str, *arguments: str) -> None:
        with (self._directory / f"{name}.log").open("wb") as out:
            command = [sys.executable, "-W", "ignore", *arguments]
            self._processes.append(subprocess.Popen(command, cwd=EXAMPLE, env=self._env, stdout=out, stderr=out))

    def _answers(self) -> bool:
        try:
            self.page()
        except OSError:
            return False
        return True

    def page(self, browser: urllib.request.OpenerDirector | None = None) -> str:
        """The text of the only page, as this browser sees it."""
        with (browser or self._browser).open(self.url) as answer:
            text: str = answer.read().decode()
            return text

    def start_import(self) -> None:
        """Press the only button."""
        token = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', self.page())
        assert token is not None
        data = urllib.parse.urlencode({"csrfmiddlewaretoken": token[1]}).encode()
        self._browser.open(self.url, data).close()

    def stop(self) -> None:
        """Stop all processes."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(20)


def _browser() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(Redis) as redis:
        started = Site(tmp_path, redis.url)
        yield started
        started.stop()


def test_both_states_of_an_import_are_shown_until_it_is_done(site: Site) -> None:
    site.start_import()
    assert "Waiting to start" in site.page()
    assert "none yet" in site.page()
    assert "No imports yet." in site.page(_browser()), "another visitor's imports are not shown"
    site.start_worker()
    wait_until(lambda: "STARTED" in site.page(), "the task runs")
    wait_until(lambda: "SUCCESS, returned 200" in site.page(), "Celery has stored the result")
    assert "Done" in site.page()
