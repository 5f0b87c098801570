"""The stand-in server in a process of its own, in either of its forms.

`TELLTALE_TEST_PUSHER=live` runs the same tests against the live server, with the apps in its project's settings.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from tests.servers import ROOT, Server, free_port, spawn
from tests.transports.sites import wait_until

IS_LIVE_SERVER: Final = os.environ.get("TELLTALE_TEST_PUSHER") == "live"

Apps = Sequence[dict[str, Any]]


class StandIn(Server):
    """It answers already."""

    def __init__(self, directory: Path, words: Sequence[str], env: Mapping[str, str], scheme: str = "http") -> None:
        super().__init__(directory, "pusher", free_port())
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._words, self._env = words, {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]), **env}
        self.start()

    @classmethod
    def serving(cls, directory: Path, apps: Apps) -> "StandIn":
        """Start it with these apps, in the form that is under test."""
        if IS_LIVE_SERVER:
            return cls.live_server(directory, apps)
        path = directory / "apps.json"
        path.write_text(json.dumps(apps))
        return cls.standalone(directory, "--apps", str(path))

    @classmethod
    def standalone(cls, directory: Path, *options: str, scheme: str = "http") -> "StandIn":
        """Start it without a Django project: the command line says all."""
        return cls(directory, ["telltale.pusher", *options], {"DJANGO_SETTINGS_MODULE": ""}, scheme)

    @classmethod
    def live_server(cls, directory: Path, apps: Apps, **settings: Any) -> "StandIn":
        """Start the live server of a project."""
        return cls.in_project(directory, ["telltale.server", "--drain-s", "5"], PUSHER_APPS=apps, **settings)

    @classmethod
    def in_project(cls, directory: Path, words: Sequence[str], **settings: Any) -> "StandIn":
        """Start any server of a project with these keys of `TELLTALE`."""
        env = {
            "DJANGO_SETTINGS_MODULE": "tests.transports.process_settings",
            "TELLTALE_TEST_DB": str(directory / "unused.sqlite3"),
            "TELLTALE_BROKER": "memory://",
            "TELLTALE_MORE": json.dumps(settings),
        }
        return cls(directory, words, env)

    def start(self) -> None:
        """Start it; again, after `stop`, at the same port."""
        with self._log.open("ab") as out:
            command = [sys.executable, "-W", "ignore", "-m", *self._words, "--port", str(self.port)]
            self._process = spawn(command, self._env, out)
        wait_until(lambda: self.answers() or not self.is_alive, "the stand-in server answers")
        assert self.is_alive, self.output()

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin_stop(self) -> None:
        """Send SIGTERM, as every supervisor does."""
        self._process.terminate()

    def kill(self) -> None:
        """End it as the operating system does when memory is short: no connection is closed cleanly."""
        self.stop(signal.SIGKILL)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5, verify=False).is_success  # noqa: S501 (a test's own)
        except httpx.TransportError:
            return False

    def output(self) -> str:
        """Return all that it has written."""
        return self._log.read_text(errors="replace")
