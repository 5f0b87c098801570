"""Benches for the tests of runners; worker processes and Redis are started once a class of tests."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection

from tests.app import celery_tasks, django_tasks
from tests.dispatch.conftest import short_durations, threads
from tests.runners.benches import (
    ProcessBench,
    celery_command,
    django_command,
    storing_in,
    worker_env,
)
from tests.servers import Redis, running

__all__ = ["short_durations", "threads"]  # fixtures here too

Start = Callable[..., Iterator[ProcessBench]]

LONG = {"TELLTALE_STALLED_S": "45", "TELLTALE_LEASE_S": "105"}


@pytest.fixture
def count_writes(transactional_db: None) -> Iterator[Callable[[], int]]:
    """Every INSERT and UPDATE of Telltale's tables, counted by SQLite itself, whichever process writes."""
    tables = [f"telltale_{name}" for name in ("taskstate", "storednotice", "usualduration")]
    triggers = [(f"count_{table}_{event}", table, event) for table in tables for event in ("INSERT", "UPDATE")]
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE written (n INTEGER)")
        cursor.execute("INSERT INTO written VALUES (0)")
        for name, table, event in triggers:
            counting = "UPDATE written SET n = n + 1"
            cursor.execute(f"CREATE TRIGGER {name} AFTER {event} ON {table} BEGIN {counting}; END")

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
    """At the address that every runner has from the settings."""
    with running(partial(Redis, port=urlsplit(settings.REDIS_URL).port)) as server:
        yield server


@pytest.fixture(scope="class")
def celery_bench(redis: Redis, start: Start) -> Iterator[ProcessBench]:
    redis.forget()
    yield from start(celery_tasks, celery_command(), " ready.")


@pytest.fixture(scope="class")
def db_bench(start: Start) -> Iterator[ProcessBench]:
    """Of django-tasks-db."""
    command = django_command("db_worker", "--no-startup-delay", "--interval", "0.1")
    yield from start(django_tasks, command, "Starting worker")


@pytest.fixture(scope="class")
def rq_bench(redis: Redis, start: Start) -> Iterator[ProcessBench]:
    from tests.app import rq_tasks

    redis.forget()
    yield from start(rq_tasks, django_command("rqworker", "default"), "Listening on")


@pytest.fixture(scope="class")
def patient_celery_bench(redis: Redis, start: Start) -> Iterator[ProcessBench]:
    """Its leases are as long as a site's, so that what is found out in the meantime is told by somebody."""
    redis.forget()
    yield from start(celery_tasks, celery_command(), " ready.", **LONG)


@pytest.fixture(scope="class")
def patient_rq_bench(redis: Redis, start: Start) -> Iterator[ProcessBench]:
    """Likewise."""
    from tests.app import rq_tasks

    redis.forget()
    yield from start(rq_tasks, django_command("rqworker", "default"), "Listening on", **LONG)


@pytest.fixture(scope="class")
def dramatiq_bench(redis: Redis, start: Start) -> Iterator[ProcessBench]:
    from tests.app import dramatiq_tasks

    redis.forget()
    command = django_command("rundramatiq", "--processes", "1", "--threads", "2")
    yield from start(dramatiq_tasks, command, "Worker process is ready for action")


@pytest.fixture(scope="class", params=["sqlite", "redis"])
def huey_bench(request: pytest.FixtureRequest, redis: Redis, start: Start) -> Iterator[ProcessBench]:
    from tests.app import huey_tasks

    redis.forget()
    storage = redis.url if request.param == "redis" else str(request.getfixturevalue("tmp_path_factory").mktemp("huey"))
    storage = storage if request.param == "redis" else f"{storage}/huey.sqlite3"
    with storing_in(storage):
        yield from start(huey_tasks, django_command("run_huey"), "The following commands", TELLTALE_HUEY=storage)


@pytest.fixture(scope="class")
def q_bench(start: Start) -> Iterator[ProcessBench]:
    from tests.app import q_tasks

    yield from start(q_tasks, django_command("qcluster"), "running.")


@pytest.fixture(scope="class")
def procrastinate_bench(start: Start) -> Iterator[ProcessBench]:
    from tests.app import procrastinate_tasks

    command = django_command("procrastinate", "worker", "--concurrency", "2")
    yield from start(procrastinate_tasks, command, "Launching a worker")


@pytest.fixture(scope="class")
def start(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> Start:
    """Makes a bench of tasks, its worker's command, and the words by which that says it is ready."""

    def bench(tasks: Any, command: list[str], ready: str, **extra: str) -> Iterator[ProcessBench]:
        made = ProcessBench(tasks, command, env_of(extra), tmp_path_factory.mktemp("worker") / "log", ready)
        yield made
        made.kill()

    return bench


def env_of(extra: dict[str, str]) -> dict[str, str]:
    return worker_env(str(connection.settings_dict["NAME"]), extra)
