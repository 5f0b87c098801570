"""`pusher://` in RQ's workers: RQ ends a job's process by `os._exit`, and the end of the task goes out all the same."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection

import telltale
from telltale.pusher.publisher.events import UPDATE
from telltale.testing.brokers import assert_eventually
from tests.app import rq_tasks
from tests.factories import person
from tests.pusher.publisher.recorder import Recorder
from tests.runners.workers import WorkerProcess, django_command, worker_env
from tests.servers import Redis, running

pytestmark = pytest.mark.service


@pytest.fixture
def worker(transactional_db: Any, recorder: Recorder, tmp_path: Path) -> Iterator[WorkerProcess]:
    with running(partial(Redis, port=urlsplit(settings.REDIS_URL).port)):
        env = worker_env(str(connection.settings_dict["NAME"]), {"TELLTALE_BROKER": recorder.url})
        worker = WorkerProcess(rq_tasks, django_command("rqworker"), env, tmp_path / "rq.log", "Listening on")
        worker.start()
        yield worker
        worker.kill()


def test_the_end_of_every_job_is_received(recorder: Recorder, worker: WorkerProcess, tmp_path: Path) -> None:
    ada = person("ada")
    for n in range(1, 4):
        with telltale.owned_by(ada):
            rq_tasks.count.delay(str(tmp_path / "log"), 1, 0.0)
        assert_eventually(lambda: count_ends(recorder) == n, f"the end of job {n} is received")  # noqa: B023 (called at once)


def count_ends(recorder: Recorder) -> int:
    """The number of tasks that succeeded."""
    tasks = [task for update in recorder.named(UPDATE) for task in update["tasks"]]
    return len({task["id"] for task in tasks if task["state"] == "succeeded"})
