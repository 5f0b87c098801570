"""The demo as real processes in its own directory, and a visitor that uses HTTP only.

Uses the demo's commands (`demo.run`) and public URLs; must not use anything inside the library.
"""

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx

from demo import run
from tests.ports import free_port

STARTS_WITHIN_S = 90


class Site:
    """The demo's web server and worker, which tests stop, start and kill separately."""

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
        wait_until_up(self.url)

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
        """Run SQL on the demo's database."""
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
        wait_until_up(self.url)
        return self

    def __exit__(self, *_: object) -> None:
        if self.supervisor.poll() is None:
            self.supervisor.send_signal(signal.SIGINT)
        self.supervisor.wait(40)

    @property
    def worker_pid(self) -> int:
        return int((self.directory / "worker.pid").read_text())

    def processes(self) -> list[int]:
        """Return the pids of all processes that belong to this site."""
        marker = f"DEMO_DIR={self.directory}".encode()
        return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and marker in _environ(path)]

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run SQL on the demo's database."""
        return rows(self.directory, sql, *values)


class Visitor:
    """A client that uses HTTP only, with its own cookies."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, headers={"Accept": "application/json"}, timeout=30)
        self.http.get("/", headers={"Accept": "text/html"}).raise_for_status()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def sign_in(self, name: str) -> Self:
        self.post("/sign-in/", data={"name": name})
        return self

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(path, headers={"X-CSRFToken": self.http.cookies["csrftoken"]}, **body)

    def upload(self, content: Any, name: str = "airports.csv") -> httpx.Response:
        return self.post("/imports/", files={"file": (name, content, "text/csv")})

    def get_task(self, location: str) -> dict[str, Any]:
        """Return the task's present snapshot from its URL."""
        response = self.http.get(location)
        response.raise_for_status()
        task: dict[str, Any] = response.json()
        return task

    def poll(self, location: str, *, until: Any, within_s: float = 200, every_s: float = 0.1) -> list[dict[str, Any]]:
        """Poll a task until `until(task)` holds; return all snapshots."""
        snapshots = [self.get_task(location)]
        end = time.monotonic() + within_s
        while not until(snapshots[-1]):
            assert time.monotonic() < end, f"after {within_s} s still {snapshots[-1]}"
            time.sleep(every_s)
            snapshots.append(self.get_task(location))
        return snapshots

    def ticket(self, *topics: str) -> str:
        response = self.post("/telltale/ticket/", json={"topics": list(topics)})
        response.raise_for_status()
        return str(response.json()["ticket"])


def ended(task: dict[str, Any]) -> bool:
    return bool(task["ended"])


def wait_until_up(url: str) -> None:
    end = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(url, timeout=5)
            return
        time.sleep(0.1)
    raise AssertionError(f"no response from {url} within {STARTS_WITHIN_S} s")


def rows(directory: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(directory / "db.sqlite3", timeout=20)) as database, database:
        return database.execute(sql, values).fetchall()


def stream_events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield the messages of an event stream."""
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
