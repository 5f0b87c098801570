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
from tests.app import rq_tasks
from tests.runners.benches import ProcessBench
from tests.runners.watching import ended, fresh, lines, until
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
    def test_its_own_delay_makes_the_row_at_once(self, rq_bench: ProcessBench, tmp_path: Path) -> None:
        rq_bench.pause()
        ada = User.objects.create_user("ada")
        with owned_by(ada):
            job = rq_tasks.count.delay(str(tmp_path / "log"), 3, 0.0)
        row = the_row()
        assert (row.state, row.runner_id, row.owner, row.label) == (State.QUEUED, job.id, ada, "Count")
        rq_bench.start()
        assert ended(row).state == State.SUCCEEDED

    def test_a_plain_function_goes_by_the_queue_or_by_its_mark(self, rq_bench: ProcessBench, tmp_path: Path) -> None:
        rq_bench.start()
        django_rq.get_queue().enqueue(rq_tasks.plain, str(tmp_path / "log"))
        by_mark = telltale.enqueue(rq_tasks.plain, str(tmp_path / "log"))
        for row in TaskState.objects.all():
            assert ended(row).state == State.SUCCEEDED
        assert (by_mark.runner, lines(tmp_path)) == ("rq", ["plain", "plain"])

    def test_in_a_transaction_the_job_and_its_row_wait_for_the_commit(
        self, rq_bench: ProcessBench, tmp_path: Path
    ) -> None:
        rq_bench.start()
        with transaction.atomic():
            rq_tasks.count.delay(str(tmp_path / "log"), 3, 0.0)
            assert TaskState.objects.count() == 0
        assert ended(the_row()).state == State.SUCCEEDED

    def test_many_at_once_have_a_row_each(self, rq_bench: ProcessBench, tmp_path: Path) -> None:
        rq_bench.start()
        log = str(tmp_path / "log")
        datas = [Queue.prepare_data(rq_tasks.count, (log, steps, 0.0)) for steps in (1, 2)]
        django_rq.get_queue().enqueue_many(datas)
        assert {ended(row).state for row in TaskState.objects.all()} == {State.SUCCEEDED}
        assert TaskState.objects.count() == 2

    def test_a_scheduled_job_says_when_it_is_due(self, rq_bench: ProcessBench, tmp_path: Path) -> None:
        due = datetime.now(UTC) + timedelta(hours=1)
        django_rq.get_queue().enqueue_at(due, rq_tasks.count, str(tmp_path / "log"), 1, 0.0)
        assert (the_row().state, the_row().due_at) == (State.QUEUED, pytest.approx(due.timestamp(), abs=1))

    def test_a_retry_shows_retrying_with_its_time_and_then_the_last_failure(
        self, rq_bench: ProcessBench, tmp_path: Path
    ) -> None:
        rq_bench.start()
        row = telltale.enqueue(rq_tasks.fail_twice, str(tmp_path / "log"))
        until(lambda: fresh(row).state == State.RETRYING, "it is retrying")
        assert fresh(row).due_at == pytest.approx(store.now() + 1, abs=2)
        # RQ's retries with an interval wait for its scheduler, which this worker has not: here it is by hand.
        until(lambda: rescheduled(str(fresh(row).runner_id)), "its retry is queued")
        assert (ended(row).state, ended(row).attempt) == (State.FAILED, 2)
        assert lines(tmp_path) == ["fail_twice", "fail_twice"]

    def test_a_job_that_outlasts_its_time_says_so(self, rq_bench: ProcessBench, tmp_path: Path) -> None:
        rq_bench.start()
        row = ended(telltale.enqueue(rq_tasks.outlast, str(tmp_path / "log")))
        assert (row.state, row.error) == (State.FAILED, "The task took too long and was stopped.")

    def test_a_cancelled_job_that_has_retries_left_is_not_tried_again(
        self, rq_bench: ProcessBench, tmp_path: Path
    ) -> None:
        rq_bench.start()
        row = telltale.enqueue(rq_tasks.hold_with_retries, str(tmp_path / "log"), str(tmp_path / "gate"))
        until(lambda: fresh(row).state == State.RUNNING, "it runs")
        telltale.cancel(row)
        assert ended(row).state == State.CANCELLED
        after = telltale.enqueue(rq_tasks.count, str(tmp_path / "log2"), 1, 0.0)
        assert ended(after).state == State.SUCCEEDED
        assert lines(tmp_path) == ["hold"]

    def test_an_untracked_job_has_no_row(self, rq_bench: ProcessBench, tmp_path: Path) -> None:
        rq_bench.start()
        rq_tasks.untracked.delay(str(tmp_path / "log"))
        until(lambda: lines(tmp_path) == ["untracked"], "it has run")
        assert TaskState.objects.count() == 0


@pytest.mark.service
class TestDeath:
    def test_a_killed_horse_is_lost_by_its_parents_word(self, patient_rq_bench: ProcessBench, tmp_path: Path) -> None:
        patient_rq_bench.start()
        row = telltale.enqueue(rq_tasks.kill_own_process, str(tmp_path / "log"))
        assert (ended(row).state, ended(row).detail) == (State.LOST, "RQ: failed")
        assert lines(tmp_path) == ["kill_own_process"]


def rescheduled(job_id: str) -> bool:
    queue = django_rq.get_queue()
    if job_id not in queue.scheduled_job_registry:
        return False
    job = queue.fetch_job(job_id)
    queue.scheduled_job_registry.remove(job)
    queue.enqueue_job(job)
    return True
