"""RQ beyond the contract: its own doors, plain functions, retries, schedules, deaths that its parent reports."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import django_rq
import pytest
import redis
from django.contrib.auth.models import User
from django.db import transaction
from rq import Queue

import telltale
from telltale import store
from telltale.core.states import State
from telltale.dispatch.runner import EnqueueFailed
from telltale.models import TaskState
from telltale.owners import owned_by
from telltale.runners.rq import _queue
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import rq_tasks
from tests.runners.workers import WorkerProcess
from tests.servers import Redis, free_port

pytestmark = pytest.mark.django_db(transaction=True)


def the_row() -> TaskState:
    return TaskState.objects.get()


def test_without_redis_a_call_is_its_own_error_and_leaves_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_queue(rq_tasks.fail), "connection", Redis.client_at(free_port()))
    with pytest.raises(redis.exceptions.ConnectionError):
        rq_tasks.fail.delay("log")
    with pytest.raises(EnqueueFailed, match="rq could not take"):
        telltale.enqueue(rq_tasks.fail, "log")
    assert TaskState.objects.count() == 0


@pytest.mark.service
class TestWorker:
    def test_its_own_delay_makes_the_row_at_once(self, rq_worker: WorkerProcess, tmp_path: Path) -> None:
        rq_worker.pause()
        ada = User.objects.create_user("ada")
        with owned_by(ada):
            job = rq_tasks.count.delay(str(tmp_path / "log"), 3, 0.0)
        row = the_row()
        assert (row.state, row.runner_id, row.owner, row.label) == (State.QUEUED, job.id, ada, "Count")
        rq_worker.start()
        assert wait_for_end(row).state == State.SUCCEEDED

    def test_a_plain_function_goes_by_the_queue_or_by_its_mark(self, rq_worker: WorkerProcess, tmp_path: Path) -> None:
        rq_worker.start()
        django_rq.get_queue().enqueue(rq_tasks.plain, str(tmp_path / "log"))
        by_mark = telltale.enqueue(rq_tasks.plain, str(tmp_path / "log"))
        for row in TaskState.objects.all():
            assert wait_for_end(row).state == State.SUCCEEDED
        assert (by_mark.runner, logged_lines(tmp_path)) == ("rq", ["plain", "plain"])

    def test_in_a_transaction_the_job_and_its_row_wait_for_the_commit(
        self, rq_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        rq_worker.start()
        with transaction.atomic():
            rq_tasks.count.delay(str(tmp_path / "log"), 3, 0.0)
            assert TaskState.objects.count() == 0
        assert wait_for_end(the_row()).state == State.SUCCEEDED

    def test_many_at_once_have_a_row_each(self, rq_worker: WorkerProcess, tmp_path: Path) -> None:
        rq_worker.start()
        log = str(tmp_path / "log")
        datas = [Queue.prepare_data(rq_tasks.count, (log, steps, 0.0)) for steps in (1, 2)]
        django_rq.get_queue().enqueue_many(datas)
        assert {wait_for_end(row).state for row in TaskState.objects.all()} == {State.SUCCEEDED}
        assert TaskState.objects.count() == 2

    def test_a_scheduled_job_says_when_it_is_due(self, rq_worker: WorkerProcess, tmp_path: Path) -> None:
        due = datetime.now(UTC) + timedelta(hours=1)
        django_rq.get_queue().enqueue_at(due, rq_tasks.count, str(tmp_path / "log"), 1, 0.0)
        assert (the_row().state, the_row().due_at) == (State.QUEUED, pytest.approx(due.timestamp(), abs=1))

    def test_a_retry_shows_retrying_with_its_time_and_then_the_last_failure(
        self, rq_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        rq_worker.start()
        row = telltale.enqueue(rq_tasks.fail_twice, str(tmp_path / "log"))
        wait_until(lambda: reload(row).state == State.RETRYING, "it is retrying")
        assert reload(row).due_at == pytest.approx(store.now() + 1, abs=2)
        # RQ's retries with an interval wait for its scheduler, which this worker has not: here it is by hand.
        wait_until(lambda: rescheduled(str(reload(row).runner_id)), "its retry is queued")
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.FAILED, 2)
        assert logged_lines(tmp_path) == ["fail_twice", "fail_twice"]

    def test_a_job_that_outlasts_its_time_says_so(self, rq_worker: WorkerProcess, tmp_path: Path) -> None:
        rq_worker.start()
        row = wait_for_end(telltale.enqueue(rq_tasks.exceed_timeout, str(tmp_path / "log")))
        assert (row.state, row.error) == (State.FAILED, "The task took too long and was stopped.")

    def test_a_cancelled_job_that_has_retries_left_is_not_tried_again(
        self, rq_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        rq_worker.start()
        row = telltale.enqueue(rq_tasks.wait_for_file_with_retries, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        telltale.cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        later = telltale.enqueue(rq_tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert wait_for_end(later).state == State.SUCCEEDED
        assert logged_lines(tmp_path) == ["wait_for_file"]

    def test_an_untracked_job_has_no_row(self, rq_worker: WorkerProcess, tmp_path: Path) -> None:
        rq_worker.start()
        rq_tasks.untracked.delay(str(tmp_path / "log"))
        wait_until(lambda: logged_lines(tmp_path) == ["untracked"], "it has run")
        assert TaskState.objects.count() == 0


@pytest.mark.service
class TestDeath:
    def test_a_killed_horse_is_lost_by_its_parents_word(
        self, rq_worker_with_long_lease: WorkerProcess, tmp_path: Path
    ) -> None:
        rq_worker_with_long_lease.start()
        row = telltale.enqueue(rq_tasks.kill_own_process, str(tmp_path / "log"))
        ended = wait_for_end(row)
        assert (ended.state, ended.detail) == (State.LOST, "RQ: failed")
        assert logged_lines(tmp_path) == ["kill_own_process"]


def rescheduled(job_id: str) -> bool:
    queue = django_rq.get_queue()
    if job_id not in queue.scheduled_job_registry:
        return False
    job = queue.fetch_job(job_id)
    queue.scheduled_job_registry.remove(job)
    queue.enqueue_job(job)
    return True
