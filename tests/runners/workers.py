"""Real workers of the runners, which tests start, pause and kill, and the settings that tests and workers share."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from huey.storage import RedisStorage, SqliteStorage

from telltale import store
from telltale.models import TaskState
from telltale.runners.threads import THREADS, _pool
from tests.app import celery_app
from tests.servers import ROOT, await_text, spawn

SHORT_DURATIONS = {"BEAT_S": 0.3, "STALLED_S": 1.0, "LEASE_S": 5.0, "SAVE_EVERY_S": 0.3, "POLL_S": 0.5}
"""Settings with which a killed worker is noticed soon, in the tests' process and in the workers."""


class ThreadWorker:
    """The thread pool of this process. It is paused by tasks that occupy all threads."""

    def __init__(self, tasks: ModuleType) -> None:
        self.tasks = tasks
        self._is_started = threading.Event()

    def start(self) -> None:
        """Release the threads."""
        self._is_started.set()

    def pause(self) -> None:
        """Occupy all threads."""
        self._is_started.clear()
        for _ in range(THREADS):
            _pool.get().submit(self._is_started.wait)

    def drain(self) -> None:
        """Release the threads, and wait until they have run everything that was submitted."""
        self.start()
        all_idle = threading.Barrier(THREADS + 1)
        for _ in range(THREADS):
            _pool.get().submit(all_idle.wait)
        all_idle.wait(30)


class WorkerProcess:
    """A worker process, in a process group of its own, so that its children can be killed with it."""

    def __init__(self, tasks: ModuleType, command: list[str], env: Mapping[str, str], log: Path, ready: str) -> None:
        self.tasks = tasks
        self._command, self._env, self._log, self._ready = command, env, log, ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, unless it runs; returns when its log contains the text `ready`."""
        if self.is_alive():
            return
        with self._log.open("wb") as out:
            self._process = spawn(self._command, self._env, out)
        await_text(self._log, self._ready, self._process)

    def pause(self) -> None:
        """Stop the process by SIGTERM, as an operator would; running tasks may finish first."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the process and all its descendants, also to those that have left its group."""
        if self._process is not None:
            for pid in [*descendants(self._process.pid), self._process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def send_signal(self, number: signal.Signals, *, to_descendants: bool = False) -> None:
        """Send a signal to the process, and to its descendants if asked."""
        assert self._process is not None
        for pid in [self._process.pid, *(descendants(self._process.pid) if to_descendants else [])]:
            os.kill(pid, number)

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if number is signal.SIGTERM:
            self._process.terminate()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
        self._process = None


def descendants(pid: int) -> list[int]:
    """The ids of a process's children, and of their children."""
    with suppress(FileNotFoundError):
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [*children, *(grandchild for child in children for grandchild in descendants(child))]
    return []


def worker_env(database: str, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker process that shares the test's database and durations."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    durations = {f"TELLTALE_{key}": str(value) for key, value in SHORT_DURATIONS.items()}
    return {
        "PYTHONPATH": path,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TELLTALE_TEST_DB": database,
        "TELLTALE_BROKER": "none://",
        **durations,
        **extra,
    }


@contextmanager
def celery_broker_at(url: str) -> Iterator[None]:
    """Within it, the tests' Celery app publishes to `url`, over new connections."""
    url_before = celery_app.conf.broker_url
    _set_celery_broker(url)
    try:
        yield
    finally:
        _set_celery_broker(url_before)


def _set_celery_broker(url: str) -> None:
    celery_app.conf.broker_url = celery_app.conf.broker_read_url = celery_app.conf.broker_write_url = url
    celery_app.close()
    celery_app.amqp._producer_pool = None


@contextmanager
def celery_results_in(backend: str) -> Iterator[None]:
    """Within it, the tests' Celery app reads results from `backend`."""
    backend_before, celery_app.conf.result_backend = celery_app.conf.result_backend, backend
    celery_app._local.backend = celery_app._get_backend()
    try:
        yield
    finally:
        celery_app.conf.result_backend = backend_before
        celery_app._local.backend = celery_app._get_backend()


@contextmanager
def huey_storage_at(address: str) -> Iterator[None]:
    """Within it, the tests' process stores Huey's tasks at `address`: a URL of Redis, or the path of a SQLite file."""
    from huey.contrib.djhuey import HUEY

    storage_before = HUEY.storage
    if address.startswith("redis:"):
        HUEY.storage = RedisStorage("tests", url=address)
    else:
        HUEY.storage = SqliteStorage("tests", filename=address)
    try:
        yield
    finally:
        if isinstance(HUEY.storage, SqliteStorage):
            HUEY.storage.close()
        HUEY.storage = storage_before


def celery_command(*options: str, pool: str = "prefork", concurrency: int = 2) -> list[str]:
    """The command that starts a Celery worker."""
    celery = [sys.executable, "-m", "celery", "-A", "tests.app.celery", "worker", "-P", pool, "-c", str(concurrency)]
    return [*celery, "-l", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat", *options]


def django_command(*arguments: str) -> list[str]:
    """The command that runs a management command of the tests' site."""
    return [sys.executable, "-W", "ignore", "-m", "django", *arguments]


def claim_elsewhere(row: TaskState) -> None:
    """Have a worker of another machine claim the task, as after a redelivery. Its lease lasts for the test."""
    claim = store.claim(task_id=row.pk, worker="elsewhere:1", now=store.now() + 100)
    assert isinstance(claim, store.Claim)
