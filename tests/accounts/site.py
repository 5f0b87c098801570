"""The site in a process of its own, and a browser's session with it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.servers import ROOT, Server
from tests.transports.sites import PATIENCE_S, Site

COMMANDS = {
    "asgi": "uvicorn tests.accounts.asgi:application --port {port} --timeout-graceful-shutdown 2",
    "asgi with a root path": "uvicorn tests.accounts.asgi:application --port {port} --root-path /app",
    "wsgi": "django runserver 127.0.0.1:{port} --noreload --nothreading",
    "plain asgi": "uvicorn --factory django.core.asgi:get_asgi_application --port {port} --lifespan off",
}
READY = {kind: "Quit the server" if kind == "wsgi" else "running on" for kind in COMMANDS}


class AccountsSite(Server, Site):
    """The site; `settings` are merged into those of `tests.accounts.settings`.

    `files`: modules of its own; `site_settings.py` takes the place of `tests.accounts.settings`.
    """

    def __init__(
        self, directory: Path, *, server: str = "asgi", files: Mapping[str, str] | None = None, **settings: Any
    ) -> None:
        super().__init__(directory, "server")
        self._server = server
        for name, text in (files or {}).items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(text)
        self.start(**settings)

    def start(self, **settings: Any) -> None:
        """Start it, or restart it with other settings: its database stays."""
        env = environment(self.directory, **settings)
        migrate = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "-v0"]
        subprocess.run(migrate, env={**os.environ, **env}, cwd=ROOT, check=True)
        command = COMMANDS[self._server].format(port=self.port).split()
        self._start([sys.executable, "-W", "ignore", "-m", *command], READY[self._server], env)


def environment(directory: Path, **settings: Any) -> dict[str, str]:
    """Return the variables by which a process uses the site's settings and database."""
    has_settings = (directory / "site_settings.py").exists()
    return {
        "PYTHONPATH": os.pathsep.join([str(directory), str(ROOT), str(ROOT / "src")]),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "site_settings" if has_settings else "tests.accounts.settings",
        "ACCOUNTS": json.dumps(settings),
        "ACCOUNTS_DIRECTORY": str(directory),
    }


@contextmanager
def browser(site: Site) -> Iterator[httpx.Client]:
    """A browser without its pages: it keeps the site's cookies."""
    with httpx.Client(base_url=site.url, timeout=PATIENCE_S) as client:
        yield client


def page_data(client: httpx.Client) -> dict[str, Any]:
    """Return the data block of the site's page, as this visitor gets it."""
    found = re.search(r'id="telltale-page">(.*?)</script>', client.get("/").text)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data
