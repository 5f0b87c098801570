"""The demo as real processes in a directory of its own, and a visitor who knows only HTTP.

Knows the demo's commands (`demo.run`) and the public addresses; must not know anything within the library.
"""

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx

from demo import run

STARTS_WITHIN_S = 30


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Site:
    """The demo's web server and worker, to be stopped, started and killed one by one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = run.environment(directory)
        self.web: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        subprocess.run([sys.executable, "-m", "demo.manage", "prepare"], env=self.environment, cwd=run.ROOT, check=True)
        self.start_worker()
        self.start_web()
        return self

    def __exit__(self, *_: object) -> None:
        run.end([process for process in (self.web, self.worker) if process])

    def start_web(self) -> None:
        self.web = subprocess.Popen(run.web_command("127.0.0.1", self.port), env=self.environment, cwd=run.ROOT)
        wait_until_it_answers(self.url)

    def stop_web(self) -> None:
        assert self.web
        run.end([self.web])

    def start_worker(self) -> None:
        self.worker = subprocess.Popen(run.worker_command(), env=self.environment, cwd=run.ROOT)
        (self.directory / "worker.pid").write_text(str(self.worker.pid))

    def kill_worker(self) -> None:
        assert self.worker
        self.worker.kill()
        self.worker.wait()

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What the database holds."""
        return rows(self.directory, sql, *values)


class SupervisedSite:
    """The demo as `make demo` starts it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        environment = run.environment(self.directory) | {"PORT": str(self.port)}
        self.supervisor = subprocess.Popen(
            [sys.executable, "-m", "demo.run"], env=environment, cwd=run.ROOT, start_new_session=True
        )
        wait_until_it_answers(self.url)
        return self

    def __exit__(self, *_: object) -> None:
        if self.supervisor.poll() is None:
            self.supervisor.send_signal(signal.SIGINT)
        self.supervisor.wait(15)

    @property
    def worker_pid(self) -> int:
        return int((self.directory / "worker.pid").read_text())

    def processes(self) -> list[int]:
        """The pids of all living processes that work in this site's directory."""
        mark = f"DEMO_DIR={self.directory}".encode()
        return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and mark in _environ(path)]

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What the database holds."""
        return rows(self.directory, sql, *values)


class Visitor:
    """A program that knows only HTTP, with cookies of its own."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, headers={"Accept": "application/json"}, timeout=30)
        self.http.get("/", headers={"Accept": "text/html"}).raise_for_status()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def becomes(self, name: str) -> Self:
        self.post("/sign-in/", data={"name": name})
        return self

    def post(self, path: str, **what: Any) -> httpx.Response:
        return self.http.post(path, headers={"X-CSRFToken": self.http.cookies["csrftoken"]}, **what)

    def imports(self, content: Any, name: str = "airports.csv") -> httpx.Response:
        return self.post("/imports/", files={"file": (name, content, "text/csv")})

    def looks(self, location: str) -> dict[str, Any]:
        """The task as its address tells it just now."""
        answer = self.http.get(location)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def watches(
        self, location: str, *, until: Any, within_s: float = 120, every_s: float = 0.1
    ) -> list[dict[str, Any]]:
        """All that its address told until `until(told)`."""
        seen = [self.looks(location)]
        end = time.monotonic() + within_s
        while not until(seen[-1]):
            assert time.monotonic() < end, f"after {within_s} s still {seen[-1]}"
            time.sleep(every_s)
            seen.append(self.looks(location))
        return seen

    def ticket(self, *topics: str) -> str:
        answer = self.post("/telltale/ticket/", json={"topics": list(topics)})
        answer.raise_for_status()
        return str(answer.json()["ticket"])


def ended(told: dict[str, Any]) -> bool:
    return bool(told["ended"])


def wait_until_it_answers(url: str) -> None:
    end = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(url, timeout=5)
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing answered at {url} within {STARTS_WITHIN_S} s")


def rows(directory: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(directory / "db.sqlite3", timeout=20)) as database, database:
        return database.execute(sql, values).fetchall()


def stream_events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The messages of an event stream."""
    for line in lines:
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


def topic_of(location: str) -> str:
    found = re.search(r"[0-9a-f-]{36}", location)
    assert found, location
    return f"task:{found[0]}"


def _environ(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
