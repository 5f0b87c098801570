"""What RQ's work horses say last: they leave a process by `os._exit`, which runs nobody's clean-up."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection

from telltale.brokers.base import Broker
from telltale.testing.brokers import eventually, hear
from tests.app import rq_tasks
from tests.runners.benches import ProcessBench, django_command, worker_env
from tests.servers import Postgres, Redis, running

pytestmark = pytest.mark.service

Make = Callable[..., Broker]


@pytest.fixture
def worker(transactional_db: Any, postgres: Postgres, tmp_path: Path) -> Iterator[ProcessBench]:
    with running(partial(Redis, port=urlsplit(settings.REDIS_URL).port)):
        env = worker_env(str(connection.settings_dict["NAME"]), {"TELLTALE_BROKER": postgres.url})
        bench = ProcessBench(rq_tasks, django_command("rqworker"), env, tmp_path / "rq.log", "Listening on")
        bench.start()
        yield bench
        bench.kill()


def test_the_end_of_every_job_is_heard(make: Make, worker: ProcessBench, tmp_path: Path) -> None:
    heard = hear(make())
    for n in range(1, 6):
        rq_tasks.count.delay(str(tmp_path / "log"), 1, 0.0)
        eventually(lambda: ends(heard) == n, f"the end of job {n} is heard")  # noqa: B023 (done at once)


def ends(heard: list[bytes]) -> int:
    """How many snapshots say that a task has succeeded."""
    return len({body for body in heard if b'"state":"succeeded"' in body})
