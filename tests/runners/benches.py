"""The benches of the runners: their tasks, and their real workers, started and killed at will."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from huey.storage import RedisStorage, SqliteStorage

from telltale.runners.threads import THREADS, _pool
from tests.app import celery_app
from tests.servers import ROOT, await_text, spawn

SHORT = {"BEAT_S": 0.3, "STALLED_S": 1.0, "LEASE_S": 2.5, "SAVE_EVERY_S": 0.3}
"""Durations that let a test see a worker found out; the tests' process and its workers share them."""


class Tasks:
    """The tasks of one module, as a bench offers them."""

    def __init__(self, module: ModuleType) -> None:
        self.count, self.fail, self.crash, self.hold = module.count, module.fail, module.crash, module.hold
        self.rows = module.rows
        self.count_async: Any = getattr(module, "count_async", None)
        self.deaf: Any = getattr(module, "deaf", None)
        self.comes_again: Any = getattr(module, "hold_late", module.hold)


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
            _pool.get().submit(self._gate.wait)

    def drain(self) -> None:
        """Let go of the threads, and wait until they have done all that was theirs to do."""
        self.start()
        idle = threading.Barrier(THREADS + 1)
        for _ in range(THREADS):
            _pool.get().submit(idle.wait)
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
        """SIGKILL to all of it, also to children that have left its group."""
        if self._process is not None:
            for pid in [*descendants(self._process.pid), self._process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def send(self, one: signal.Signals, *, to_all: bool = False) -> None:
        """A signal to the worker, or to all of its processes; it may be the worker's end."""
        assert self._process is not None
        for pid in [self._process.pid, *(descendants(self._process.pid) if to_all else [])]:
            os.kill(pid, one)

    def is_alive(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        """What it has written, for a failing test's reader."""
        return self._log.read_text() if self._log.exists() else ""

    def _end(self, with_signal: signal.Signals) -> None:
        if self._process is None:
            return
        if with_signal is signal.SIGTERM:
            self._process.terminate()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, with_signal)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(5)
        self._process = None


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    with suppress(FileNotFoundError):
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [*children, *(grandchild for child in children for grandchild in descendants(child))]
    return []


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


@contextmanager
def publishing_to(url: str) -> Iterator[None]:
    """The tests' Celery app publishes there, over fresh connections."""
    before = celery_app.conf.broker_url
    _point_at(url)
    try:
        yield
    finally:
        _point_at(before)


@contextmanager
def storing_in(storage: str) -> Iterator[None]:
    """The tests' process stores Huey's tasks there."""
    from huey.contrib.djhuey import HUEY

    before = HUEY.storage
    if storage.startswith("redis:"):
        HUEY.storage = RedisStorage("tests", url=storage)
    else:
        HUEY.storage = SqliteStorage("tests", filename=storage)
    try:
        yield
    finally:
        HUEY.storage = before


@contextmanager
def storing_results_in(backend: str) -> Iterator[None]:
    """The tests' Celery app looks for results there."""
    before, celery_app.conf.result_backend = celery_app.conf.result_backend, backend
    celery_app._local.backend = celery_app._get_backend()
    try:
        yield
    finally:
        celery_app.conf.result_backend = before
        celery_app._local.backend = celery_app._get_backend()


def _point_at(url: str) -> None:
    celery_app.conf.broker_url = celery_app.conf.broker_read_url = celery_app.conf.broker_write_url = url
    celery_app.close()
    celery_app.amqp._producer_pool = None


def celery_command(*options: str, pool: str = "prefork", children: int = 2) -> list[str]:
    """A worker; by default prefork with two children."""
    celery = [sys.executable, "-m", "celery", "-A", "tests.app.celery", "worker", "-P", pool, "-c", str(children)]
    return [*celery, "-l", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat", *options]


def django_command(*words: str) -> list[str]:
    """A management command of the tests' site."""
    return [sys.executable, "-W", "ignore", "-m", "django", *words]
