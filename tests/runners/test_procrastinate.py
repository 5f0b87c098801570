"""Procrastinate, on PostgreSQL: the contract, its own calls, transactions, retries, aborted jobs."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection, connections, transaction

import telltale
from telltale.core.states import State
from telltale.dispatch.registry import runner_of
from telltale.models import TaskState
from telltale.testing.runners import WorkerProcessContract, reload, wait_for_end, wait_until
from tests.runners.own_calls import RetryTests, only_row
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
    """Django does not empty Procrastinate's tables after a test."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")


class TestContract(WorkerProcessContract):
    @pytest.fixture
    def worker(self, procrastinate_worker: WorkerProcess) -> WorkerProcess:
        return procrastinate_worker


def test_each_job_that_is_deferred_by_batch_defer_has_a_row() -> None:
    procrastinate_tasks.fail.batch_defer({"log": "a"}, {"log": "b"})
    assert sorted(row.call["kwargs"]["log"] for row in TaskState.objects.all()) == ["a", "b"]


def test_a_transaction_that_rolls_back_removes_the_job_and_its_row() -> None:
    with transaction.atomic():
        procrastinate_tasks.fail.defer(log="log")
        telltale.enqueue(procrastinate_tasks.fail, "log")
        transaction.set_rollback(True)
    assert (TaskState.objects.count(), ProcrastinateJob.objects.count()) == (0, 0)


def test_a_scheduled_job_is_shown_with_its_time() -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    procrastinate_tasks.fail.configure(schedule_at=due).defer(log="log")
    assert only_row().due_at == pytest.approx(due.timestamp(), abs=1)


def test_the_row_keeps_the_queue_and_the_job_is_the_record() -> None:
    runner: Any = runner_of(procrastinate_tasks.fail)
    assert telltale.enqueue(procrastinate_tasks.fail, "log").queue == runner.queue_of(procrastinate_tasks.fail)
    job = ProcrastinateJob.objects.get()
    assert runner.record(str(job.pk), job.queue_name) == job
    assert runner.record("0", job.queue_name) is None
    procrastinate_tasks.fail.configure(queue="reports").defer(log="log")
    assert TaskState.objects.get(runner_id=ProcrastinateJob.objects.latest("pk").pk).queue == "reports"


def test_positional_arguments_are_passed_by_name() -> None:
    telltale.enqueue(procrastinate_tasks.count, "log", 3, pause_s=0.5)
    assert ProcrastinateJob.objects.get().args == {"log": "log", "steps": 3, "pause_s": 0.5}


def test_it_is_unknown_whether_a_job_that_a_worker_has_taken_was_lost() -> None:
    row = telltale.enqueue(procrastinate_tasks.fail, "log")
    runner, task, runner_id = runner_of(procrastinate_tasks.fail), procrastinate_tasks.fail, reload(row).runner_id
    answers = []
    for status in ("todo", "doing", "failed"):
        with connection.cursor() as cursor:
            cursor.execute("UPDATE procrastinate_jobs SET status = %s", [status])
        answers.append(runner.has_message(task, runner_id))
    assert [*answers, runner.has_message(task, "0")] == [True, None, False, False]


def test_a_position_is_told_only_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telltale.runners.procrastinate.MAX_AHEAD", 2)
    ids = [procrastinate_tasks.fail.defer(log="log") for _ in range(4)]
    task = procrastinate_tasks.fail
    assert [runner_of(task).ahead(task, str(job_id)) for job_id in ids] == [0, 1, None, None]


class TestWorker(RetryTests):
    queue = "default"

    @pytest.fixture
    def worker(self, procrastinate_worker: WorkerProcess) -> WorkerProcess:
        return procrastinate_worker

    def call(self, task: Any, **kwargs: Any) -> str:
        return str(task.defer(**kwargs))

    def test_defer_async_creates_the_row(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()

        async def defer() -> None:
            await procrastinate_tasks.count.defer_async(log=str(tmp_path / "log"), steps=2, pause_s=0.0)
            # The connection belongs to asgiref's thread, and would keep the test database from being dropped.
            await sync_to_async(connections.close_all)()

        asyncio.run(defer())
        wait_until(lambda: TaskState.objects.exists(), "the row is there")
        assert wait_for_end(only_row()).state == State.SUCCEEDED

    def test_a_cancelled_job_is_aborted_in_procrastinate(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        row = telltale.enqueue(procrastinate_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        telltale.cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        wait_until(lambda: ProcrastinateJob.objects.get().status == "aborted", "the job is aborted")
