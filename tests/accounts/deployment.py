"""The site as it is deployed: its static files are collected, and nginx serves them or stands before the site."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page

from tests.accounts.site import AccountsSite, environment
from tests.browser.conftest import opening_contexts
from tests.servers import ROOT, Nginx, Server, running

MIME: Final = "include /etc/nginx/mime.types;\n"
SETTINGS = """
from tests.accounts.settings import *
DEBUG = False
STATIC_ROOT = DIRECTORY / "static"
"""


OpenPage = Callable[..., Page]
Deploy = Callable[..., "Deployment"]


class Deployment:
    """A directory with the collected static files of a site, and the servers that a test starts there."""

    def __init__(self, directory: Path, lines: str, modules: Mapping[str, str] | None = None) -> None:
        """`lines`: of the site's settings. `modules`: the site's own, by the names of their files."""
        self.directory = directory
        self._stack = ExitStack()
        for name, text in {"site_settings.py": SETTINGS + lines, **(modules or {})}.items():
            (directory / name).write_text(text)
        self.manage("collectstatic", "--noinput", "-v0")

    def site(self, **settings: Any) -> str:
        """Start the site; return its URL."""
        site = AccountsSite(self.directory, **settings)
        self._stack.callback(site.stop)
        return site.url

    def live_server(self, **settings: Any) -> str:
        """Start a live server; return its URL."""
        server = LiveServer(self.directory, **settings)
        self._stack.callback(server.stop)
        return f"http://127.0.0.1:{server.port}"

    def nginx(self, block: str, **names: str) -> str:
        """Start nginx with this server block, in which `names` are replaced, %(port)d and %(files)s; return its URL."""
        known = {"files": f"{self.directory}/static", **names}
        nginx = Nginx(self.directory, lambda port: MIME + block % {**known, "port": port})
        self._stack.callback(nginx.stop)
        return nginx.url

    def manage(self, *command: str, **settings: str) -> str:
        """Run a command of the site's; return what it printed."""
        env = {**os.environ, **environment(self.directory, **settings)}
        words = [sys.executable, "-m", "django", *command]
        finished = subprocess.run(words, env=env, cwd=ROOT, check=True, capture_output=True, text=True)
        return finished.stdout + finished.stderr

    def stop(self) -> None:
        """End the servers."""
        self._stack.close()


class LiveServer(Server):
    """`telltale serve`, for the site in this directory."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        super().__init__(directory, "live")
        command = [sys.executable, "-W", "ignore", "-m", "telltale.server", "--port", str(self.port)]
        self._start(command, "Telltale serves", environment(directory, **settings))


@pytest.fixture
def deploy() -> Iterator[Deploy]:
    with ExitStack() as stack:
        yield lambda *given: stack.enter_context(running(lambda directory: Deployment(directory, *given)))


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens a page of a site. An error or a warning in its console fails the test, unless it is `expected`."""
    with ExitStack() as stack:

        def open_one(url: str, *expected: str) -> Page:
            open_context = stack.enter_context(contextmanager(opening_contexts)(browser, url, expected))
            return open_context().new_page()

        yield open_one
