"""`django.tasks` beyond the contract: its own `enqueue`, the immediate backend, priorities, late rows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import transaction
from django_tasks_db.models import DBTaskResult

import telltale
from telltale.core.states import State
from telltale.dispatch.registry import by_name
from telltale.models import TaskState
from telltale.owners import owned_by
from telltale.testing.runners import logged_lines, wait_for_end
from tests.app import async_tasks, django_tasks
from tests.runners.workers import WorkerProcess

try:
    from django.tasks.signals import task_enqueued, task_finished, task_started
except ImportError:
    from django_tasks.signals import task_enqueued, task_finished, task_started

pytestmark = pytest.mark.django_db(transaction=True)

NAMES: dict[Any, str] = {task_enqueued: "enqueued", task_started: "started", task_finished: "finished"}

count_now = django_tasks.count.using(backend="immediate")


def test_task_enqueue_creates_the_row(tmp_path: Path) -> None:
    ada = User.objects.create_user("ada")
    with owned_by(ada):
        result = django_tasks.count.enqueue(str(tmp_path / "log"), 3, 0.0)
    row = TaskState.objects.get()
    assert (row.state, row.runner, row.runner_id, row.owner) == (State.QUEUED, "django_tasks", result.id, ada)
    assert (row.label, row.call["args"]) == ("Count", [str(tmp_path / "log"), 3, 0.0])


def test_an_untracked_task_has_no_row(tmp_path: Path) -> None:
    django_tasks.untracked.using(backend="immediate").enqueue(str(tmp_path / "log"))
    assert logged_lines(tmp_path) == ["untracked"]
    assert TaskState.objects.count() == 0


def test_a_transaction_that_rolls_back_removes_the_task_and_its_row() -> None:
    with transaction.atomic():
        django_tasks.fail.enqueue("log")
        assert TaskState.objects.count() == 1
        transaction.set_rollback(True)
    assert (TaskState.objects.count(), DBTaskResult.objects.count()) == (0, 0)


def test_telltale_enqueue_creates_a_single_row_with_the_id_of_the_result() -> None:
    row = telltale.enqueue(django_tasks.fail, "log")
    row.refresh_from_db()
    assert row.runner_id == str(DBTaskResult.objects.get().pk)
    assert TaskState.objects.count() == 1


def test_the_immediate_backend_creates_the_row_and_ends_it(tmp_path: Path) -> None:
    count_now.enqueue(str(tmp_path / "log"), 3, 0.0)
    row = TaskState.objects.get()
    assert (row.state, row.attempt, row.result) == (State.SUCCEEDED, 1, "/counted/")


def test_after_a_run_there_is_no_current_call(tmp_path: Path) -> None:
    count_now.enqueue(str(tmp_path / "log"), 3, 0.0)
    runner = by_name("django_tasks")
    assert runner is not None
    assert runner.current_call() is None


def test_telltale_enqueue_with_the_immediate_backend_creates_a_single_row(tmp_path: Path) -> None:
    row = telltale.enqueue(count_now, str(tmp_path / "log"), 3, 0.0)
    ended = wait_for_end(row)
    assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
    assert TaskState.objects.count() == 1


def test_an_async_task_reports_progress_and_ends(tmp_path: Path) -> None:
    django_tasks.count_async.using(backend="immediate").enqueue(str(tmp_path / "log"), 5)
    row = TaskState.objects.get()
    assert (row.state, row.snapshot.progress.current) == (State.SUCCEEDED, 5)


def test_a_task_that_runs_inside_another_has_its_own_row(tmp_path: Path) -> None:
    django_tasks.runs_another.using(backend="immediate").enqueue(str(tmp_path / "log"))
    outer = TaskState.objects.get(name__endswith="runs_another")
    inner = TaskState.objects.get(name__endswith="count")
    assert (outer.state, outer.result) == (State.SUCCEEDED, "/outer/")
    assert (inner.state, inner.result) == (State.SUCCEEDED, "/counted/")


@pytest.mark.parametrize("task", [django_tasks.follow_me, async_tasks.follow_me], ids=["sync", "async"])
def test_a_task_that_is_followed_by_its_name_is_shown(task: Any, tmp_path: Path) -> None:
    ada = User.objects.create_user("ada")
    with owned_by(ada):
        task.using(backend="immediate").enqueue(str(tmp_path / "log"))
    row = TaskState.objects.get()
    assert (row.state, row.owner, row.label) == (State.SUCCEEDED, ada, "Something of another package")
    assert logged_lines(tmp_path) == ["follow_me"]
    assert telltale.enqueue(task, str(tmp_path / "log")).state == State.QUEUED


@pytest.mark.parametrize("task", [django_tasks.follow_me, async_tasks.follow_me], ids=["sync", "async"])
def test_a_followed_task_that_is_awaited_is_shown(task: Any, tmp_path: Path) -> None:
    async def enqueue_and_run() -> None:
        result = await task.using(backend="immediate").aenqueue(str(tmp_path / "log"))
        assert str(result.status) == "SUCCESSFUL"

    async_to_sync(enqueue_and_run)()
    assert TaskState.objects.get().state == State.SUCCEEDED


@pytest.mark.service
def test_a_task_that_is_followed_by_its_name_runs_in_a_worker(
    django_tasks_worker: WorkerProcess, tmp_path: Path
) -> None:
    django_tasks.follow_me.enqueue(str(tmp_path / "log"))
    row = TaskState.objects.get()
    assert (row.state, row.label) == (State.QUEUED, "Something of another package")
    django_tasks_worker.start()
    ended = wait_for_end(row)
    assert (ended.state, ended.attempt, logged_lines(tmp_path)) == (State.SUCCEEDED, 1, ["follow_me"])


def test_a_failure_in_the_immediate_backend_is_shown(tmp_path: Path) -> None:
    django_tasks.fail.using(backend="immediate").enqueue(str(tmp_path / "log"))
    row = TaskState.objects.get()
    assert (row.state, row.error) == (State.FAILED, "Row 7 has no name.")


def test_a_cancellation_in_the_immediate_backend_is_a_failed_result(tmp_path: Path) -> None:
    result = django_tasks.cancels_itself.using(backend="immediate").enqueue(str(tmp_path / "log"))
    assert TaskState.objects.get().state == State.CANCELLED
    assert (str(result.status), issubclass(result.errors[0].exception_class, telltale.Cancelled)) == ("FAILED", True)


def test_tasks_of_the_dummy_backend_stay_queued() -> None:
    dummy = django_tasks.count.using(backend="dummy")
    dummy.enqueue("log", 3, 0.0)
    row = telltale.enqueue(dummy, "log", 3, 0.0)
    assert [(row.state, row.attempt) for row in TaskState.objects.all()] == [(State.QUEUED, 1)] * 2
    assert telltale.cancel(row)


@pytest.mark.parametrize("with_telltale", [True, False])
def test_a_task_with_run_after_is_shown_with_its_time(with_telltale: bool) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    later = django_tasks.count.using(run_after=due)
    if with_telltale:
        telltale.enqueue(later, "log", 3, 0.0)
    else:
        later.enqueue("log", 3, 0.0)
    row = TaskState.objects.get()
    assert (row.state, row.due_at) == (State.QUEUED, pytest.approx(due.timestamp(), abs=0.01))
    assert DBTaskResult.objects.get().run_after == due


def test_priority_and_queue_name_are_kept() -> None:
    telltale.enqueue(django_tasks.report, "log")
    telltale.enqueue(django_tasks.report.using(priority=-5), "log")
    assert set(DBTaskResult.objects.values_list("priority", "queue_name")) == {(5, "reports"), (-5, "reports")}


def test_the_handlers_of_a_site_receive_the_same_signals(tmp_path: Path) -> None:
    received: list[tuple[str, str]] = []

    def record(signal: Any, task_result: Any, **_: object) -> None:
        received.append((NAMES[signal], task_result.id))

    for signal in NAMES:
        signal.connect(record)
    try:
        count_now.enqueue(str(tmp_path / "log"), 3, 0.0)
    finally:
        for signal in NAMES:
            signal.disconnect(record)
    runner_id = TaskState.objects.get().runner_id
    assert received == [(name, runner_id) for name in ("enqueued", "started", "finished")]


@pytest.mark.service
class TestWorker:
    def test_a_task_from_task_enqueue_runs_and_ends(self, django_tasks_worker: WorkerProcess, tmp_path: Path) -> None:
        django_tasks.count.enqueue(str(tmp_path / "log"), 3, 0.0)
        row = TaskState.objects.get()
        django_tasks_worker.start()
        assert wait_for_end(row).state == State.SUCCEEDED

    def test_of_two_waiting_tasks_the_one_with_the_higher_priority_runs_first(
        self, django_tasks_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        django_tasks_worker.pause()
        usual = telltale.enqueue(django_tasks.count, str(tmp_path / "log"), 3, 0.0)
        urgent = telltale.enqueue(django_tasks.crash.using(priority=50), str(tmp_path / "log"))
        django_tasks_worker.start()
        assert (wait_for_end(usual).state, wait_for_end(urgent).state) == (State.SUCCEEDED, State.FAILED)
        assert logged_lines(tmp_path) == ["crash", "count"]

    def test_a_task_with_run_after_does_not_run_earlier(
        self, django_tasks_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        django_tasks_worker.start()
        due = datetime.now(UTC) + timedelta(seconds=2)
        row = telltale.enqueue(django_tasks.count.using(run_after=due), str(tmp_path / "log"), 3, 0.0)
        ended = wait_for_end(row)
        assert (ended.state, ended.started_at >= due.timestamp()) == (State.SUCCEEDED, True)

    def test_a_worker_that_is_faster_than_the_caller_waits_for_the_row(
        self, django_tasks_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        django_tasks_worker.start()
        for number in range(10):
            telltale.enqueue(django_tasks.count, str(tmp_path / "log"), number, 0.0)
        for row in TaskState.objects.all():
            assert wait_for_end(row).state == State.SUCCEEDED
        assert TaskState.objects.count() == 10
