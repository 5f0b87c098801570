"""Workers for the tests of runners. Worker processes are started once for each class of tests, Redis once for all."""

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection

from tests.app import celery_tasks, django_tasks
from tests.dispatch.conftest import short_durations, thread_worker
from tests.runners.workers import (
    WorkerProcess,
    celery_command,
    celery_results_in,
    django_command,
    huey_storage_at,
    worker_env,
)
from tests.servers import Redis, running

__all__ = ["short_durations", "thread_worker"]  # fixtures of this folder too

RunWorker = Callable[..., Iterator[WorkerProcess]]

DEFAULT_DURATIONS = {"TELLTALE_STALLED_S": "45", "TELLTALE_LEASE_S": "105"}


@pytest.fixture
def count_writes(transactional_db: None) -> Iterator[Callable[[], int]]:
    """Returns how many INSERTs and UPDATEs Telltale's tables have had, by any process; counted by SQLite itself."""
    tables = [f"telltale_{name}" for name in ("taskstate", "storednotice", "usualduration")]
    triggers = [(f"count_{table}_{event}", table, event) for table in tables for event in ("INSERT", "UPDATE")]
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE written (n INTEGER)")
        cursor.execute("INSERT INTO written VALUES (0)")
        for name, table, event in triggers:
            increment = "UPDATE written SET n = n + 1"
            cursor.execute(f"CREATE TRIGGER {name} AFTER {event} ON {table} BEGIN {increment}; END")

    def count() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT n FROM written")
            return int(cursor.fetchone()[0])

    yield count
    with connection.cursor() as cursor:
        for name, _table, _event in triggers:
            cursor.execute(f"DROP TRIGGER {name}")
        cursor.execute("DROP TABLE written")


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """Redis at the address that the settings give to every runner."""
    with running(partial(Redis, port=urlsplit(settings.REDIS_URL).port)) as server:
        yield server


@pytest.fixture(scope="class")
def run_worker(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> RunWorker:
    """Yields a worker with these tasks, command and environment, and kills it afterwards.

    `ready`: the text in its log that tells that it takes tasks.
    """

    def run(tasks: ModuleType, command: list[str], ready: str, **env: str) -> Iterator[WorkerProcess]:
        all_env = worker_env(str(connection.settings_dict["NAME"]), env)
        worker = WorkerProcess(tasks, command, all_env, tmp_path_factory.mktemp("worker") / "log", ready)
        yield worker
        worker.kill()

    return run


@pytest.fixture(scope="class")
def celery_worker(redis: Redis, run_worker: RunWorker) -> Iterator[WorkerProcess]:
    redis.forget()
    yield from run_worker(celery_tasks, celery_command(), " ready.")


@pytest.fixture(scope="class")
def celery_worker_with_results(redis: Redis, run_worker: RunWorker) -> Iterator[WorkerProcess]:
    redis.forget()
    with celery_results_in("django-db"):
        yield from run_worker(celery_tasks, celery_command(), " ready.", CELERY_RESULTS="django-db")


@pytest.fixture(scope="class")
def celery_worker_with_long_lease(redis: Redis, run_worker: RunWorker) -> Iterator[WorkerProcess]:
    """No lease expires during a test, so any end was reported by the worker."""
    redis.forget()
    yield from run_worker(celery_tasks, celery_command(), " ready.", **DEFAULT_DURATIONS)


@pytest.fixture(scope="class")
def django_tasks_worker(run_worker: RunWorker) -> Iterator[WorkerProcess]:
    """A worker of django-tasks-db."""
    command = django_command("db_worker", "--no-startup-delay", "--interval", "0.1")
    yield from run_worker(django_tasks, command, "Starting worker")


@pytest.fixture(scope="class")
def rq_worker(redis: Redis, run_worker: RunWorker) -> Iterator[WorkerProcess]:
    from tests.app import rq_tasks

    redis.forget()
    yield from run_worker(rq_tasks, django_command("rqworker", "default"), "Listening on")


@pytest.fixture(scope="class")
def rq_worker_with_long_lease(redis: Redis, run_worker: RunWorker) -> Iterator[WorkerProcess]:
    """No lease expires during a test, so any end was reported by the worker."""
    from tests.app import rq_tasks

    redis.forget()
    yield from run_worker(rq_tasks, django_command("rqworker", "default"), "Listening on", **DEFAULT_DURATIONS)


@pytest.fixture(scope="class")
def dramatiq_worker(redis: Redis, run_worker: RunWorker) -> Iterator[WorkerProcess]:
    from tests.app import dramatiq_tasks

    redis.forget()
    command = django_command("rundramatiq", "--processes", "1", "--threads", "2")
    yield from run_worker(dramatiq_tasks, command, "Worker process is ready for action")


@pytest.fixture(scope="class", params=["sqlite", "redis"])
def huey_worker(
    request: pytest.FixtureRequest, redis: Redis, run_worker: RunWorker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    from tests.app import huey_tasks

    redis.forget()
    address = redis.url if request.param == "redis" else str(tmp_path_factory.mktemp("huey") / "huey.sqlite3")
    with huey_storage_at(address):
        yield from run_worker(huey_tasks, django_command("run_huey"), "The following commands", TELLTALE_HUEY=address)


@pytest.fixture(scope="class")
def django_q_worker(run_worker: RunWorker) -> Iterator[WorkerProcess]:
    from tests.app import q_tasks

    yield from run_worker(q_tasks, django_command("qcluster"), "running.")


@pytest.fixture(scope="class")
def procrastinate_worker(run_worker: RunWorker) -> Iterator[WorkerProcess]:
    from tests.app import procrastinate_tasks

    command = django_command("procrastinate", "worker", "--concurrency", "2")
    yield from run_worker(procrastinate_tasks, command, "Launching a worker")
