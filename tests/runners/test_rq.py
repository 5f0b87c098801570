"""RQ beyond the contract: its own calls, plain functions, retries, schedules, killed work horses."""

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django_rq
import pytest
import redis
from django.db import transaction
from rq import Queue

import telltale
from telltale.core.states import State
from telltale.dispatch.runner import EnqueueFailed
from telltale.models import TaskState
from telltale.runners.rq import _queue
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import rq_tasks
from tests.runners.own_calls import RetryTests, only_row
from tests.runners.workers import WorkerProcess, claim_elsewhere
from tests.servers import Redis, free_port

pytestmark = pytest.mark.django_db(transaction=True)


def test_without_redis_every_call_raises_and_leaves_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_queue(rq_tasks.fail), "connection", Redis.client_at(free_port()))
    with pytest.raises(redis.exceptions.ConnectionError):
        rq_tasks.fail.delay("log")
    with pytest.raises(EnqueueFailed, match="rq could not take"):
        telltale.enqueue(rq_tasks.fail, "log")
    assert TaskState.objects.count() == 0


@pytest.mark.service
class TestWorker(RetryTests):
    queue = "default"

    @pytest.fixture
    def worker(self, rq_worker: WorkerProcess) -> WorkerProcess:
        return rq_worker

    def call(self, task: Any, **kwargs: Any) -> str:
        return str(task.delay(**kwargs).id)

    def enqueue_retry(self, runner_id: str) -> None:
        # RQ enqueues retries with an interval only in workers that run its scheduler, which this worker does not.
        wait_until(lambda: enqueue_scheduled_job(runner_id), "the retry is scheduled")

    def test_a_plain_function_is_enqueued_by_the_queue_or_by_telltale(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        django_rq.get_queue().enqueue(rq_tasks.plain, str(tmp_path / "log"))
        row_of_telltale = telltale.enqueue(rq_tasks.plain, str(tmp_path / "log"))
        for row in TaskState.objects.all():
            assert wait_for_end(row).state == State.SUCCEEDED
        assert (row_of_telltale.runner, logged_lines(tmp_path)) == ("rq", ["plain", "plain"])

    def test_a_plain_function_that_is_followed_by_its_name_is_shown_and_can_be_retried(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        django_rq.get_queue().enqueue("tests.app.q_tasks.follow_me", str(tmp_path / "log"), 1)
        row = wait_for_end(only_row())
        assert (row.state, row.label) == (State.FAILED, "Something of another package"), "it takes one argument"
        telltale.retry(row)
        wait_until(lambda: reload(row).ended_at is not None, "the second attempt ends")
        assert (reload(row).state, reload(row).attempt) == (State.FAILED, 2)

    def test_in_a_transaction_the_job_and_its_row_are_created_at_the_commit(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        with transaction.atomic():
            rq_tasks.count.delay(str(tmp_path / "log"), 3, 0.0)
            assert TaskState.objects.count() == 0
        assert wait_for_end(only_row()).state == State.SUCCEEDED

    def test_each_job_that_is_enqueued_by_enqueue_many_has_a_row(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        log = str(tmp_path / "log")
        job_data = [Queue.prepare_data(rq_tasks.count, (log, steps, 0.0)) for steps in (1, 2)]
        django_rq.get_queue().enqueue_many(job_data)
        assert {wait_for_end(row).state for row in TaskState.objects.all()} == {State.SUCCEEDED}
        assert TaskState.objects.count() == 2

    def test_a_scheduled_job_is_shown_with_its_time(self, worker: WorkerProcess, tmp_path: Path) -> None:
        due = datetime.now(UTC) + timedelta(hours=1)
        django_rq.get_queue().enqueue_at(due, rq_tasks.count, str(tmp_path / "log"), 1, 0.0)
        assert (only_row().state, only_row().due_at) == (State.QUEUED, pytest.approx(due.timestamp(), abs=1))

    def test_a_job_that_exceeds_its_timeout_fails_with_a_text_that_says_so(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        row = wait_for_end(telltale.enqueue(rq_tasks.exceed_timeout, str(tmp_path / "log")))
        assert (row.state, row.error) == (State.FAILED, "The task took too long and was stopped.")

    def test_a_cancelled_job_with_retries_left_is_not_retried(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        row = telltale.enqueue(rq_tasks.wait_for_file_with_retries, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        telltale.cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        later = telltale.enqueue(rq_tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert wait_for_end(later).state == State.SUCCEEDED
        assert logged_lines(tmp_path) == ["wait_for_file"]


@pytest.mark.service
class TestKilledWorkHorse:
    def test_the_worker_reports_that_its_work_horse_was_killed(
        self, rq_worker_with_long_lease: WorkerProcess, tmp_path: Path
    ) -> None:
        rq_worker_with_long_lease.start()
        row = telltale.enqueue(rq_tasks.kill_own_process, str(tmp_path / "log"))
        ended = wait_for_end(row)
        assert (ended.state, ended.detail) == (State.LOST, "RQ: failed")
        assert logged_lines(tmp_path) == ["kill_own_process"]

    def test_a_killed_work_horse_does_not_end_the_attempt_of_another_worker(
        self, rq_worker_with_long_lease: WorkerProcess, tmp_path: Path
    ) -> None:
        rq_worker_with_long_lease.start()
        row = telltale.enqueue(rq_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        horse = int(reload(row).worker.rpartition(":")[2])
        claim_elsewhere(row)
        os.kill(horse, signal.SIGKILL)
        later = telltale.enqueue(rq_tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert wait_for_end(later).state == State.SUCCEEDED, "the worker has reported the killed one before"
        assert (reload(row).state, reload(row).attempt) == (State.RUNNING, 2)


def enqueue_scheduled_job(job_id: str) -> bool:
    """Whether the job was scheduled; it is enqueued now."""
    queue = django_rq.get_queue()
    if job_id not in queue.scheduled_job_registry:
        return False
    job = queue.fetch_job(job_id)
    queue.scheduled_job_registry.remove(job)
    queue.enqueue_job(job)
    return True
