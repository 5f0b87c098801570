"""Benches for the tests of runners; worker processes and Redis are started once a class of tests."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from tests.app import celery_tasks, django_tasks, thread_tasks
from tests.runners.benches import (
    SHORT,
    ProcessBench,
    Redis,
    ThreadBench,
    celery_command,
    db_worker_command,
    publishing_to,
    worker_env,
)


@pytest.fixture(autouse=True)
def short_durations(settings: Any) -> None:
    settings.TELLTALE = {"BROKER": "memory://", **SHORT}


@pytest.fixture
def threads() -> Iterator[ThreadBench]:
    bench = ThreadBench(thread_tasks)
    yield bench
    bench.drain()


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="class")
def celery_bench(
    redis: Redis, tmp_path_factory: pytest.TempPathFactory, django_db_setup: None
) -> Iterator[ProcessBench]:
    log = tmp_path_factory.mktemp("celery") / "worker.log"
    bench = ProcessBench(celery_tasks, celery_command(), env_of({"REDIS_URL": redis.url}), log, " ready.")
    redis.forget()
    with publishing_to(redis.url):
        yield bench
    bench.kill()


@pytest.fixture(scope="class")
def db_bench(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> Iterator[ProcessBench]:
    log = tmp_path_factory.mktemp("db_worker") / "worker.log"
    bench = ProcessBench(django_tasks, db_worker_command(), env_of({}), log, "Starting worker")
    yield bench
    bench.kill()


def env_of(extra: dict[str, str]) -> dict[str, str]:
    return worker_env(str(connection.settings_dict["NAME"]), extra)
