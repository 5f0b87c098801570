"""Celery beyond the contract: its own calls, eager mode, followed tasks, retries, chains, killed child processes."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import chain
from celery.exceptions import Retry
from celery.utils.time import maybe_make_aware
from django.contrib.auth.models import User
from django.db import transaction

import telltale
from telltale.core.past_attempts import read_attempts
from telltale.core.states import State
from telltale.dispatch.control import CannotRetry
from telltale.dispatch.runner import EnqueueFailed
from telltale.models import TaskState
from telltale.owners import owned_by
from telltale.runners.celery import CeleryRunner
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import celery_app, celery_tasks
from tests.runners.conftest import RunWorker
from tests.runners.own_calls import OwnCallTests
from tests.runners.workers import WorkerProcess, celery_broker_at, celery_command, claim_elsewhere
from tests.servers import free_port

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def eager() -> Iterator[None]:
    celery_app.conf.task_always_eager = True
    yield
    celery_app.conf.task_always_eager = False


@pytest.fixture
def without_redis() -> Iterator[None]:
    with celery_broker_at(f"redis://127.0.0.1:{free_port()}/0"):
        yield


def test_a_naive_eta_is_in_utc_as_it_is_for_celerys_workers(tmp_path: Path) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    naive = due.replace(tzinfo=None)
    with celery_broker_at("memory://"):
        celery_tasks.count.apply_async((str(tmp_path / "log"), 1, 0.0), eta=naive)
    assert TaskState.objects.get().due_at == pytest.approx(due.timestamp(), abs=0.01)
    verdict = CeleryRunner().verdict(Retry(when=naive))
    assert verdict is not None
    assert verdict.due_at == pytest.approx(due.timestamp(), abs=0.01)
    in_worker = maybe_make_aware(naive, celery_app.conf.timezone)
    assert in_worker.timestamp() == pytest.approx(due.timestamp(), abs=0.01)


@pytest.mark.usefixtures("eager")
class TestEager:
    def test_delay_creates_the_row_and_ends_it(self, tmp_path: Path) -> None:
        ada = User.objects.create_user("ada")
        with owned_by(ada):
            result = celery_tasks.count.delay(str(tmp_path / "log"), 3, 0.0)
        row = TaskState.objects.get()
        assert (row.state, row.runner_id, row.owner) == (State.SUCCEEDED, result.id, ada)

    @pytest.mark.parametrize("error", ["SoftTimeLimitExceeded", "Reject"])
    def test_an_exception_of_celery_that_autoretry_includes_is_no_failure_until_the_last_try(self, error: str) -> None:
        celery_tasks.autoretry_anything.delay(error)
        row = TaskState.objects.get()
        assert [attempt.state for attempt in read_attempts(row.past_attempts)] == [State.RETRYING]
        assert (row.state, row.attempt) == (State.FAILED, 2)

    def test_telltale_enqueue_creates_a_single_row(self, tmp_path: Path) -> None:
        row = telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 3, 0.0)
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
        assert TaskState.objects.count() == 1

    def test_a_failure_is_shown(self, tmp_path: Path) -> None:
        celery_tasks.fail.delay(str(tmp_path / "log"))
        row = TaskState.objects.get()
        assert (row.state, row.error) == (State.FAILED, "Row 7 has no name.")

    def test_an_error_that_propagates_is_raised_as_it_is(self, tmp_path: Path) -> None:
        celery_app.conf.task_eager_propagates = True
        try:
            with pytest.raises(ZeroDivisionError):
                telltale.enqueue(celery_tasks.crash, str(tmp_path / "log"))
        finally:
            celery_app.conf.task_eager_propagates = False
        assert TaskState.objects.get().state == State.FAILED

    def test_a_retry_is_the_next_attempt_of_the_same_task(self, tmp_path: Path) -> None:
        celery_tasks.retry_once.delay(str(tmp_path / "log"))
        row = TaskState.objects.get()
        assert (row.state, row.attempt) == (State.SUCCEEDED, 2)
        assert logged_lines(tmp_path) == ["retry_once", "retry_once"]

    def test_a_task_that_ignores_itself_is_cancelled(self) -> None:
        celery_tasks.ignore.delay()
        assert TaskState.objects.get().state == State.CANCELLED

    def test_each_task_that_inherits_a_tracked_run_has_a_label_made_from_its_own_name(self, tmp_path: Path) -> None:
        celery_app.tasks["tests.app.celery_tasks.SalesReport"].delay(str(tmp_path / "log"))
        telltale.enqueue(celery_app.tasks["tests.reports.stock_by_month"], str(tmp_path / "log"))
        labels = TaskState.objects.order_by("created_at").values_list("label", "state")
        assert list(labels) == [("Sales report", State.SUCCEEDED), ("Stock by month", State.SUCCEEDED)]

    def test_a_followed_task_is_shown(self, tmp_path: Path) -> None:
        celery_tasks.follow_me.delay(str(tmp_path / "log"))
        row = TaskState.objects.get()
        assert (row.state, row.label) == (State.SUCCEEDED, "Something of another package")

    def test_an_untracked_task_has_no_row(self, tmp_path: Path) -> None:
        celery_tasks.untracked.delay(str(tmp_path / "log"))
        assert logged_lines(tmp_path) == ["untracked"]
        assert TaskState.objects.count() == 0


@pytest.mark.usefixtures("without_redis")
class TestWithoutRedis:
    def test_telltale_enqueue_raises_and_leaves_no_row(self) -> None:
        with pytest.raises(EnqueueFailed, match="celery could not take"):
            telltale.enqueue(celery_tasks.fail, "log")
        assert TaskState.objects.count() == 0

    def test_delay_raises_celerys_error_and_leaves_no_row(self) -> None:
        with pytest.raises(celery_tasks.fail.OperationalError):
            celery_tasks.fail.delay("log")
        assert TaskState.objects.count() == 0


@pytest.mark.service
class TestWorker(OwnCallTests):
    queue = "celery"

    @pytest.fixture
    def worker(self, celery_worker: WorkerProcess) -> WorkerProcess:
        return celery_worker

    def call(self, task: Any, **kwargs: Any) -> str:
        return str(task.delay(**kwargs).id)

    def test_a_worker_that_is_faster_than_the_callers_commit_creates_no_second_row(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        with transaction.atomic():
            celery_tasks.count.delay(str(tmp_path / "log"), 3, 0.0)
            time.sleep(0.5)
        row = TaskState.objects.get()
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
        assert TaskState.objects.count() == 1

    def test_a_task_that_is_called_by_its_name_is_shown(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        celery_app.send_task("tests.app.celery_tasks.count", [str(tmp_path / "log"), 3, 0.0])
        wait_until(lambda: TaskState.objects.exists(), "the row is there")
        assert wait_for_end(TaskState.objects.get()).state == State.SUCCEEDED

    def test_a_task_that_is_followed_by_the_setting_is_shown(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.pause()
        ada = User.objects.create_user("ada")
        with owned_by(ada):
            celery_app.send_task("tests.app.celery_tasks.follow_me", [str(tmp_path / "log")])
        row = TaskState.objects.get()
        assert (row.state, row.owner, row.label) == (State.QUEUED, ada, "Something of another package")
        worker.start()
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
        assert TaskState.objects.count() == 1

    def test_a_followed_task_that_is_imported_after_the_app_is_finalized_is_shown(
        self, worker: WorkerProcess, run_worker: RunWorker, tmp_path: Path
    ) -> None:
        worker.pause()
        finalized_worker = next(run_worker(celery_tasks, celery_command(concurrency=1), " ready.", CELERY_EARLY="1"))
        try:
            finalized_worker.start()
            celery_tasks.follow_me.delay(str(tmp_path / "log"))
            assert wait_for_end(TaskState.objects.get()).state == State.SUCCEEDED
        finally:
            finalized_worker.kill()

    def test_a_task_that_is_followed_in_code_is_shown(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        celery_tasks.vendor_monthly.delay(str(tmp_path / "log"))
        row = TaskState.objects.get()
        ended = wait_for_end(row)
        assert (row.label, ended.state, ended.attempt) == ("Vendor's report", State.SUCCEEDED, 1)

    def test_a_task_that_the_worker_does_not_know_fails_with_a_text_that_says_so(self, worker: WorkerProcess) -> None:
        worker.start()
        celery_app.send_task("tests.elsewhere.follow_me", ["log"])
        row = wait_for_end(TaskState.objects.get())
        assert (row.state, row.error) == (State.FAILED, "The worker does not know this task.")
        with pytest.raises(CannotRetry, match="from where it was started"):
            telltale.retry(row)

    def test_a_task_that_ignores_itself_is_cancelled(self, worker: WorkerProcess) -> None:
        worker.start()
        assert wait_for_end(telltale.enqueue(celery_tasks.ignore)).state == State.CANCELLED

    def test_a_retry_is_shown_as_retrying_and_then_as_the_next_attempt(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        row = telltale.enqueue(celery_tasks.retry_once, str(tmp_path / "log"))
        wait_until(lambda: reload(row).state == State.RETRYING, "it is retrying")
        assert reload(row).due_at is not None
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)

    def test_a_task_with_autoretry_fails_only_after_its_last_attempt(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        row = telltale.enqueue(celery_tasks.autoretry, str(tmp_path / "log"))
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.FAILED, 2)
        assert logged_lines(tmp_path) == ["autoretry", "autoretry"]

    def test_a_replacement_runs_as_the_next_attempt_of_the_same_task(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        row = telltale.enqueue(celery_tasks.replace_itself, str(tmp_path / "log"))
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)
        assert logged_lines(tmp_path) == ["replace_itself", "count"]
        assert TaskState.objects.count() == 1

    def test_all_tasks_of_a_chain_have_the_same_owner(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        ada, log = User.objects.create_user("ada"), str(tmp_path / "log")
        with owned_by(ada):
            chain(celery_tasks.count.si(log, 1, 0.0), celery_tasks.count.si(log, 2, 0.0)).delay()
        wait_until(lambda: TaskState.objects.filter(state=State.SUCCEEDED).count() == 2, "both have run")
        assert {row.owner for row in TaskState.objects.all()} == {ada}

    def test_a_task_that_a_task_enqueues_has_the_same_owner(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        ada = User.objects.create_user("ada")
        telltale.enqueue(celery_tasks.call_another, str(tmp_path / "log"), owner=ada)
        wait_until(lambda: TaskState.objects.filter(state=State.SUCCEEDED).count() == 2, "both have run")
        assert {row.owner for row in TaskState.objects.all()} == {ada}

    def test_a_task_that_celery_revoked_is_cancelled_when_it_is_due(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        result = celery_tasks.count.apply_async((str(tmp_path / "log"), 1, 0.0), countdown=4)
        time.sleep(0.5)
        celery_app.control.revoke(result.id)
        assert wait_for_end(TaskState.objects.get()).state == State.CANCELLED
        assert logged_lines(tmp_path) == []

    def test_an_expired_task_fails_with_a_text_that_says_so(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.pause()
        celery_tasks.count.apply_async((str(tmp_path / "log"), 1, 0.0), expires=0.2)
        time.sleep(0.5)
        worker.start()
        row = wait_for_end(TaskState.objects.get())
        assert (row.state, row.error) == (State.FAILED, "The task expired before a worker was free.")

    def test_an_expired_message_of_a_task_that_runs_elsewhere_does_not_end_it(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.pause()
        celery_tasks.count.apply_async((str(tmp_path / "log"), 1, 0.0), expires=0.2)
        row = TaskState.objects.get()
        claim_elsewhere(row)
        time.sleep(0.5)
        worker.start()
        later = telltale.enqueue(celery_tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert wait_for_end(later).state == State.SUCCEEDED
        assert (reload(row).state, logged_lines(tmp_path)) == (State.RUNNING, [])

    def test_a_revoked_message_of_a_task_that_runs_elsewhere_does_not_end_it(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        result = celery_tasks.count.apply_async((str(tmp_path / "log"), 1, 0.0), countdown=4)
        row = TaskState.objects.get()
        claim_elsewhere(row)
        time.sleep(0.5)
        celery_app.control.revoke(result.id)
        time.sleep(4.0)
        assert (reload(row).state, logged_lines(tmp_path)) == (State.RUNNING, [])


@pytest.mark.service
class TestKilledChild:
    def test_f01_the_main_process_reports_that_its_child_was_killed(
        self, celery_worker_with_long_lease: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker_with_long_lease.start()
        row = telltale.enqueue(celery_tasks.kill_own_process, str(tmp_path / "log"))
        assert wait_for_end(row).state == State.LOST
        assert "signal 9" in wait_for_end(row).detail
        assert logged_lines(tmp_path) == ["kill_own_process"]
