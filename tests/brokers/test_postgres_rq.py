"""The last messages of an RQ job over the PostgreSQL broker: RQ ends a job's process by `os._exit`."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection

from telltale.testing.brokers import assert_eventually, collect
from tests.app import rq_tasks
from tests.brokers.factory import MakeBroker
from tests.runners.workers import WorkerProcess, django_command, worker_env
from tests.servers import Postgres, Redis, running

pytestmark = pytest.mark.service


@pytest.fixture
def worker(transactional_db: Any, postgres: Postgres, tmp_path: Path) -> Iterator[WorkerProcess]:
    with running(partial(Redis, port=urlsplit(settings.REDIS_URL).port)):
        env = worker_env(str(connection.settings_dict["NAME"]), {"TELLTALE_BROKER": postgres.url})
        bench = WorkerProcess(rq_tasks, django_command("rqworker"), env, tmp_path / "rq.log", "Listening on")
        bench.start()
        yield bench
        bench.kill()


def test_the_end_of_every_job_is_received(make_broker: MakeBroker, worker: WorkerProcess, tmp_path: Path) -> None:
    received = collect(make_broker())
    for n in range(1, 6):
        rq_tasks.count.delay(str(tmp_path / "log"), 1, 0.0)
        assert_eventually(lambda: count_ends(received) == n, f"the end of job {n} is received")  # noqa: B023 (called at once)


def count_ends(bodies: list[bytes]) -> int:
    """The number of snapshots of succeeded tasks."""
    return len({body for body in bodies if b'"state":"succeeded"' in body})
