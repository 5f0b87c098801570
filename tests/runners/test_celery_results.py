"""Celery's result back end in the database, the seed's first way: our state beside its row, each with its own job."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django_celery_results.models import TaskResult

import telltale
from telltale.core.states import State
from telltale.testing.runners import reload, wait_for_end, wait_until
from tests.app import celery_tasks
from tests.runners.conftest import RunWorker
from tests.runners.workers import WorkerProcess, celery_command
from tests.servers import Redis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]


@pytest.fixture(scope="class")
def bench(redis: Redis, run_worker: RunWorker) -> Iterator[WorkerProcess]:
    redis.forget()
    yield from run_worker(celery_tasks, celery_command(), " ready.", CELERY_RESULTS="django-db")


class TestResults:
    def test_both_have_one_row_under_one_id_and_agree(self, bench: WorkerProcess, tmp_path: Path) -> None:
        bench.start()
        row = wait_for_end(telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 3, 0.0))
        wait_until(lambda: TaskResult.objects.filter(status="SUCCESS").exists(), "the result is stored")
        assert TaskResult.objects.get().task_id == row.runner_id
        assert row.state == State.SUCCEEDED

    def test_a_failure_is_words_here_and_a_traceback_there(self, bench: WorkerProcess, tmp_path: Path) -> None:
        bench.start()
        row = wait_for_end(telltale.enqueue(celery_tasks.fail, str(tmp_path / "log")))
        wait_until(lambda: TaskResult.objects.filter(task_id=row.runner_id, status="FAILURE").exists(), "it is stored")
        assert row.error == "Row 7 has no name."

    def test_a_cancelled_task_is_revoked_there(self, bench: WorkerProcess, tmp_path: Path) -> None:
        bench.start()
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        telltale.cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        wait_until(
            lambda: TaskResult.objects.filter(task_id=reload(row).runner_id, status="REVOKED").exists(), "so there"
        )

    def test_a_killed_worker_leaves_its_row_started_and_ours_lost(self, bench: WorkerProcess, tmp_path: Path) -> None:
        bench.start()
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: TaskResult.objects.filter(task_id=row.runner_id, status="STARTED").exists(), "it is started")
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        bench.kill()
        assert wait_for_end(row).state == State.LOST
        assert TaskResult.objects.get(task_id=row.runner_id).status == "STARTED"
