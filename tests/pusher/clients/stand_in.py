"""The stand-in server in a process of its own: `python -m telltale.pusher`."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.servers import Server, free_port, spawn
from tests.transports.sites import wait_until


class StandIn(Server):
    """Started without a Django project, with the options of the command line alone."""

    def __init__(self, directory: Path, options: Sequence[str], scheme: str = "http") -> None:
        super().__init__(directory, "pusher", free_port())
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._options = options
        self.start()

    def start(self) -> None:
        """Start it; again, after `stop`, at the same port."""
        command = [sys.executable, "-m", "telltale.pusher", "--port", str(self.port), *self._options]
        with self._log.open("ab") as out:
            self._process = spawn(command, {"DJANGO_SETTINGS_MODULE": ""}, out)
        wait_until(lambda: self.answers() or not self.is_alive, "the stand-in server answers")
        assert self.is_alive, self.output()

    def kill(self) -> None:
        """End it as the operating system does when memory is short: no connection is closed cleanly."""
        self.stop(signal.SIGKILL)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def answers(self) -> bool:
        try:
            httpx.get(f"{self.url}/nothing/here", timeout=5, verify=False)  # noqa: S501 (a certificate of the test)
        except httpx.TransportError:
            return False
        return True

    def output(self) -> str:
        """Return all that it has written."""
        return self._log.read_text(errors="replace")
