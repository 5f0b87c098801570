"""A runner's own call in a transaction that stays open, on PostgreSQL: the worker runs that task and those after it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from rq import Queue

from telltale.core.states import State
from telltale.models import TaskState
from telltale.owners import owned_by
from telltale.testing.runners import logged_lines, wait_for_end, wait_until
from tests.app import celery_tasks
from tests.runners.conftest import RunWorker
from tests.runners.workers import WorkerProcess, celery_command, django_command, huey_storage_at
from tests.servers import Redis

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.service,
    pytest.mark.skipif(not settings.POSTGRES, reason="Needs rows that are locked one by one: `make databases`."),
]


class OpenTransactionTests:
    """Override the fixture `worker`, and `call` if the runner's call is not `delay`."""

    @pytest.fixture
    def worker(self) -> WorkerProcess:
        raise NotImplementedError("Override the fixture `worker`.")

    def call(self, task: Any, *args: Any) -> None:
        task.delay(*args)

    def test_the_worker_waits_for_no_open_transaction_of_the_publisher(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        log, ada = str(tmp_path / "log"), User.objects.create_user("ada")
        with transaction.atomic(), owned_by(ada):
            for _ in range(2):
                self.call(worker.tasks.count, log, 1, 0.0)
            self.call(worker.tasks.untracked, log)
            wait_until(lambda: logged_lines(tmp_path) == ["count", "count", "untracked"], "all three have run")
        rows = [wait_for_end(row) for row in TaskState.objects.all()]
        assert [(row.state, row.owner, row.result) for row in rows] == [(State.SUCCEEDED, ada, "/counted/")] * 2


@pytest.fixture(scope="class")
def single_celery_worker(redis: Redis, run_worker: RunWorker) -> Iterator[WorkerProcess]:
    redis.forget()
    yield from run_worker(celery_tasks, celery_command(concurrency=1), " ready.")


@pytest.fixture(scope="class")
def single_huey_worker(run_worker: RunWorker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    from tests.app import huey_tasks

    address = str(tmp_path_factory.mktemp("huey") / "huey.sqlite3")
    with huey_storage_at(address):
        command = django_command("run_huey", "--workers", "1")
        yield from run_worker(huey_tasks, command, "The following commands", TELLTALE_HUEY=address)


class TestCelery(OpenTransactionTests):
    @pytest.fixture
    def worker(self, single_celery_worker: WorkerProcess) -> WorkerProcess:
        return single_celery_worker


class TestRQ(OpenTransactionTests):
    @pytest.fixture
    def worker(self, rq_worker: WorkerProcess) -> WorkerProcess:
        return rq_worker

    def call(self, task: Any, *args: Any) -> None:
        # RQ's own queue: that of django-rq waits for the commit.
        with redis.Redis.from_url(settings.REDIS_URL) as connection:
            Queue("default", connection=connection).enqueue(task, *args)


class TestHuey(OpenTransactionTests):
    @pytest.fixture
    def worker(self, single_huey_worker: WorkerProcess) -> WorkerProcess:
        return single_huey_worker

    def call(self, task: Any, *args: Any) -> None:
        task(*args)
