"""The example beside `django-celery-results` runs: its page, its worker, both states of one task."""

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

from telltale.testing.runners import until
from tests.servers import ROOT, Redis, await_text, free_port, running

pytestmark = pytest.mark.service

EXAMPLE = ROOT / "examples" / "celery_results"


class Site:
    """The example's server and worker, on a database of its own, and a browser without JavaScript."""

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
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=EXAMPLE, env=self._env, check=True)
        self._start("site", "manage.py", "runserver", "--noreload", urllib.parse.urlsplit(self.url).netloc)
        until(self._answers, "the site answers")

    def work(self) -> None:
        """Start its worker."""
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

    def page(self) -> str:
        """Its only page."""
        with self._browser.open(self.url) as answer:
            text: str = answer.read().decode()
            return text

    def press(self) -> None:
        """Its only button."""
        token = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', self.page())
        assert token is not None
        data = urllib.parse.urlencode({"csrfmiddlewaretoken": token[1]}).encode()
        self._browser.open(self.url, data).close()

    def stop(self) -> None:
        """End all."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(20)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(Redis) as redis:
        started = Site(tmp_path, redis.url)
        yield started
        started.stop()


def test_an_import_is_shown_by_both_from_its_queue_to_its_end(site: Site) -> None:
    site.press()
    assert "Waiting to start" in site.page()
    assert "none yet" in site.page()
    site.work()
    until(lambda: "STARTED" in site.page(), "both say that it runs")
    until(lambda: "SUCCESS, returned 200" in site.page(), "Celery has its result")
    assert "Done" in site.page()
