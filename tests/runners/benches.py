"""The benches of the three runners: their tasks, and their real workers, started and killed at will."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import IO

import redis

from telltale.runners.threads import THREADS, _pool
from tests.app import celery_app

ROOT = Path(__file__).parents[2]

SHORT = {"BEAT_S": 0.3, "STALLED_S": 1.0, "LEASE_S": 2.5, "SAVE_EVERY_S": 0.3}
"""Durations that let a test see a worker found out; the tests' process and its workers share them."""


class Tasks:
    """The tasks of one module, as a bench offers them."""

    def __init__(self, module: ModuleType) -> None:
        self.count, self.fail, self.crash, self.hold = module.count, module.fail, module.crash, module.hold


class ThreadBench(Tasks):
    """The pool of this process; paused by filling it."""

    def __init__(self, module: ModuleType) -> None:
        super().__init__(module)
        self._gate = threading.Event()

    def start(self) -> None:
        """Let go of the threads."""
        self._gate.set()

    def pause(self) -> None:
        """Keep every thread busy."""
        self._gate.clear()
        for _ in range(THREADS):
            _pool(os.getpid()).submit(self._gate.wait)

    def drain(self) -> None:
        """Let go of the threads, and wait until they have done all that was theirs to do."""
        self.start()
        idle = threading.Barrier(THREADS + 1)
        for _ in range(THREADS):
            _pool(os.getpid()).submit(idle.wait)
        idle.wait(30)


class ProcessBench(Tasks):
    """A worker process in a group of its own, so that its children die with it."""

    def __init__(self, module: ModuleType, command: list[str], env: Mapping[str, str], log: Path, ready: str) -> None:
        super().__init__(module)
        self._command, self._env, self._log, self._ready = command, env, log, ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it unless it runs; returns when it says that it is ready."""
        if self._process is not None and self._process.poll() is None:
            return
        with self._log.open("wb") as out:
            self._process = spawn(self._command, self._env, out)
        await_text(self._log, self._ready, self._process)

    def pause(self) -> None:
        """Stop it as its operator would; it may finish what it runs."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to all of it."""
        self._end(signal.SIGKILL)

    def said(self) -> str:
        """What it has written, for a failing test's reader."""
        return self._log.read_text() if self._log.exists() else ""

    def _end(self, with_signal: signal.Signals) -> None:
        if self._process is None:
            return
        if with_signal is signal.SIGTERM:
            self._process.terminate()
        else:
            os.killpg(self._process.pid, with_signal)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(5)
        self._process = None


def spawn(command: list[str], env: Mapping[str, str], out: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start `command` in a process group of its own, with both its outputs in `out`."""
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **env}, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
    )


def await_text(log: Path, text: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until `text` is in the log; a process that ends before is told with all that it said."""
    patience = time.monotonic() + 30
    while text not in log.read_text(errors="replace"):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < patience, log.read_text()
        time.sleep(0.05)


def worker_env(database: str, extra: Mapping[str, str]) -> dict[str, str]:
    """What makes a worker process share the test's database and durations."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    durations = {f"TELLTALE_{key}": str(value) for key, value in SHORT.items()}
    return {
        "PYTHONPATH": path,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TELLTALE_TEST_DB": database,
        "TELLTALE_BROKER": "none://",
        **durations,
        **extra,
    }


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Redis:
    """A real Redis on a port of its own, in memory."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._log = directory / "redis.log"
        command = [
            "redis-server",
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(directory),
        ]
        with self._log.open("wb") as out:
            self._process = spawn(command, {}, out)
        await_text(self._log, "Ready to accept connections", self._process)

    def forget(self) -> None:
        """Drop whatever earlier tests have left in it."""
        with redis.Redis(port=self.port) as client:
            client.flushall()

    def stop(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        self._process.wait(10)


@contextmanager
def publishing_to(url: str) -> Iterator[None]:
    """The tests' Celery app publishes there, over fresh connections."""
    before = celery_app.conf.broker_url
    _point_at(url)
    try:
        yield
    finally:
        _point_at(before)


def _point_at(url: str) -> None:
    celery_app.conf.broker_url = celery_app.conf.broker_read_url = celery_app.conf.broker_write_url = url
    celery_app.close()
    celery_app.amqp._producer_pool = None


def celery_command() -> list[str]:
    """A prefork worker with two children."""
    celery = [sys.executable, "-m", "celery", "-A", "tests.app.celery", "worker", "-P", "prefork", "-c", "2"]
    return [*celery, "-l", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"]


def db_worker_command() -> list[str]:
    """The worker of django-tasks-db, looking often."""
    return [sys.executable, "-m", "django", "db_worker", "--no-startup-delay", "--interval", "0.1"]
