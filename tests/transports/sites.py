"""The servers for the tests of transports: in a thread of the tests, where settings can be changed, or in processes
of their own, which share the tests' database and the broker `local://`.
"""

import asyncio
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import uvicorn
from django.db import connection, connections
from websockets.sync.client import connect

from telltale import brokers
from telltale.asgi import get_asgi_application
from telltale.server import socket_protocol
from telltale.server.http_protocol import HttpProtocol
from telltale.server.websocket_protocol import WebSocketProtocol
from telltale.transports import asgi
from tests.servers import ROOT, Server, free_port, spawn

PATIENCE_S: Final = 30.0

LINGER_S: Final = 1.0
"""How long a server in a thread waits for clients that do not answer its closing frame, instead of five seconds."""


class Site:
    """A server, and the addresses for its clients."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def live(self) -> str:
        return f"{self.url}/telltale/live/"

    def socket(self, **more: Any) -> connect:
        return connect(self.live.replace("http", "ws"), open_timeout=PATIENCE_S, **more)

    def begin_shutdown(self) -> None:
        """Tell the server to stop."""
        raise NotImplementedError


class ThreadSite(Site):
    """uvicorn, in this process."""

    def __init__(self, port: int) -> None:
        self.port = port

    def begin_shutdown(self) -> None:
        """Drain its clients; the server goes on, so that a test can see what new clients receive."""
        from telltale.live.driver import drain_all

        drain_all()


CLASSES: Final[Mapping[str, Mapping[str, Any]]] = {
    "uvicorn": {},
    "live": {"ws": WebSocketProtocol, "http": HttpProtocol},
}
"""Options of uvicorn, by kind of site in a thread."""


@contextmanager
def in_a_thread(
    kind: str, new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
) -> Iterator[ThreadSite]:
    """Run a server for one test alone, so that it has no clients of another test."""
    brokers.reset()
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    application: Any = get_asgi_application()
    options = {"log_level": "warning", "lifespan": "on", "timeout_graceful_shutdown": 5, **CLASSES[kind]}
    server = uvicorn.Server(uvicorn.Config(application, **options))
    patch = pytest.MonkeyPatch()
    for module in (asgi, socket_protocol):
        patch.setattr(module, "LINGER_S", LINGER_S)

    def serve() -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(server.serve([listening]))

    thread = threading.Thread(target=serve, name="test-uvicorn")
    thread.start()
    give_up_at = time.monotonic() + PATIENCE_S
    while not server.started and time.monotonic() < give_up_at:
        time.sleep(0.01)
    try:
        yield ThreadSite(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        listening.close()
        brokers.reset()
        connections.close_all()
        patch.undo()
        assert not thread.is_alive(), "The server did not stop."


APPLICATION: Final = "tests.transports.application:application"
LIVE_FLAGS: Final = "--ws telltale.server:WebSocketProtocol --http telltale.server:HttpProtocol"

COMMANDS: Final = {
    "live server": "telltale.server --port {port} --drain-s 5",
    "uvicorn": f"uvicorn {APPLICATION} --port {{port}} --timeout-graceful-shutdown 5 --log-level warning",
    "uvicorn, live": f"uvicorn {APPLICATION} --port {{port}} --timeout-graceful-shutdown 5 {LIVE_FLAGS}",
    "daphne": f"daphne -p {{port}} --application-close-timeout 5 {APPLICATION}",
    "hypercorn": f"hypercorn -b 127.0.0.1:{{port}} --graceful-timeout 5 {APPLICATION}",
    "granian": f"granian --interface asgi --port {{port}} --workers-kill-timeout 8 {APPLICATION}",
}
"""Arguments of `python -m`, by kind of server; docs/live-server.md has the same list."""


def environment(**more: object) -> dict[str, str]:
    """Return variables by which a process shares the tests' database and broker; `more` are keys of `TELLTALE`."""
    return {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
        "DJANGO_SETTINGS_MODULE": "tests.transports.process_settings",
        "TELLTALE_TEST_DB": str(connection.settings_dict["NAME"]),
        "TELLTALE_BROKER": "local://",
        "TELLTALE_MORE": json.dumps({"CONNECTIONS_PER_USER": 3, **more}),
    }


class ProcessSite(Server, Site):
    """A server in a process of its own, which answers already."""

    kind = ""
    """Its name in `COMMANDS`."""

    def __init__(self, directory: Path, words: Sequence[str], env: Mapping[str, str], port: int | None = None) -> None:
        super().__init__(directory, "server", port or free_port())
        self._words = [word.format(port=self.port) for word in words]
        self._env = env
        self.is_live_server = "telltale.server" in words
        self.start()

    @classmethod
    def of(cls, directory: Path, kind: str) -> "ProcessSite":
        """Start a server of `COMMANDS`."""
        site = cls(directory, COMMANDS[kind].split(), environment())
        site.kind = kind
        return site

    def start(self) -> None:
        """Start it, or restart it after its end."""
        self.is_stopping = False
        with self._log.open("ab") as out:
            self._process = spawn([sys.executable, "-W", "ignore", "-m", *self._words], self._env, out)
        wait_until(lambda: self.connection_count() is not None or not self.is_alive, "the server answers")
        assert self.is_alive, self.output()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def output(self) -> str:
        """Return all that it has written."""
        return self._log.read_text(errors="replace")

    def connection_count(self) -> int | None:
        """Return the number of its clients; None while it does not answer."""
        with suppress(httpx.TransportError):
            answer = httpx.get(f"{self.url}/healthz", timeout=5)
            return int(answer.json()["connections"]) if self.is_live_server else int(answer.text)
        return None

    def begin_shutdown(self) -> None:
        """Send SIGTERM, as every supervisor does."""
        self.is_stopping = True
        self._process.terminate()

    def wait_for_exit(self, patience_s: float) -> float:
        """Return how long it took to exit, in seconds; fail after `patience_s`."""
        began = time.monotonic()
        wait_until(lambda: not self.is_alive, f"the server exits; its output: {self.output()}", patience_s)
        return time.monotonic() - began


def wait_until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until `condition()` is true; fail after `patience_s`, naming `what` was waited for."""
    give_up_at = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < give_up_at, f"Waited {patience_s:.0f} s in vain until {what}."
        time.sleep(0.05)
