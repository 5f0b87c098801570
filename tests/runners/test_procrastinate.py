"""Procrastinate, on PostgreSQL: the contract, its own calls, transactions, retries, and jobs that are swept."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction

import telltale
from telltale import store
from telltale.core.states import State
from telltale.models import TaskState
from telltale.owners import owned_by
from telltale.testing.runners import WorkerProcessContract, logged_lines, reload, wait_for_end, wait_until
from tests.runners.workers import WorkerProcess

if settings.POSTGRES:
    from procrastinate.contrib.django.models import ProcrastinateJob

    from tests.app import procrastinate_tasks

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.service,
    pytest.mark.skipif(not settings.POSTGRES, reason="Procrastinate needs PostgreSQL: `make databases`."),
]


@pytest.fixture(autouse=True)
def no_jobs() -> None:
    """Its tables are not among those that Django empties after a test."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")


def the_row() -> TaskState:
    return TaskState.objects.get()


class TestContract(WorkerProcessContract):
    @pytest.fixture
    def worker(self, procrastinate_worker: WorkerProcess) -> WorkerProcess:
        return procrastinate_worker


def test_its_own_defer_makes_the_row() -> None:
    ada = User.objects.create_user("ada")
    with owned_by(ada):
        job_id = procrastinate_tasks.count.defer(log="log", steps=3, pause_s=0.0)
    row = the_row()
    assert (row.state, row.runner_id, row.owner, row.label) == (State.QUEUED, str(job_id), ada, "Count")


def test_many_deferred_at_once_have_a_row_each() -> None:
    procrastinate_tasks.fail.batch_defer({"log": "a"}, {"log": "b"})
    assert sorted(row.call["kwargs"]["log"] for row in TaskState.objects.all()) == ["a", "b"]


def test_a_transaction_that_rolls_back_takes_both_along() -> None:
    with transaction.atomic():
        procrastinate_tasks.fail.defer(log="log")
        telltale.enqueue(procrastinate_tasks.fail, "log")
        transaction.set_rollback(True)
    assert (TaskState.objects.count(), ProcrastinateJob.objects.count()) == (0, 0)


def test_a_scheduled_job_says_when_it_is_due() -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    procrastinate_tasks.fail.configure(schedule_at=due).defer(log="log")
    assert the_row().due_at == pytest.approx(due.timestamp(), abs=1)


def test_positional_arguments_get_their_names() -> None:
    telltale.enqueue(procrastinate_tasks.count, "log", 3, pause_s=0.5)
    assert ProcrastinateJob.objects.get().args == {"log": "log", "steps": 3, "pause_s": 0.5}


class TestWorker:
    def test_an_async_defer_makes_the_row_too(self, procrastinate_worker: WorkerProcess, tmp_path: Path) -> None:
        procrastinate_worker.start()
        asyncio.run(procrastinate_tasks.count.defer_async(log=str(tmp_path / "log"), steps=2, pause_s=0.0))
        wait_until(lambda: TaskState.objects.exists(), "the row is there")
        assert wait_for_end(the_row()).state == State.SUCCEEDED

    def test_a_retry_shows_retrying_with_its_time_and_then_the_last_failure(
        self, procrastinate_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        procrastinate_worker.start()
        row = telltale.enqueue(procrastinate_tasks.fail_twice, str(tmp_path / "log"))
        wait_until(lambda: reload(row).state == State.RETRYING, "it is retrying")
        assert reload(row).due_at == pytest.approx(store.now() + 1, abs=2)
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.FAILED, 2)
        assert logged_lines(tmp_path) == ["fail_twice", "fail_twice"]

    def test_a_cancelled_job_is_aborted_for_procrastinate_too(
        self, procrastinate_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        procrastinate_worker.start()
        row = telltale.enqueue(procrastinate_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        telltale.cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        wait_until(lambda: ProcrastinateJob.objects.get().status == "aborted", "the job is aborted")

    def test_an_untracked_task_has_no_row(self, procrastinate_worker: WorkerProcess, tmp_path: Path) -> None:
        procrastinate_worker.start()
        procrastinate_tasks.untracked.defer(log=str(tmp_path / "log"))
        wait_until(lambda: logged_lines(tmp_path) == ["untracked"], "it has run")
        assert TaskState.objects.count() == 0
