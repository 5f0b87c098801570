"""`django.tasks` beyond the contract: its own `enqueue`, its immediate back end, and rows that come late."""

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django_tasks_db.models import DBTaskResult

import telltale
from telltale.core.states import State
from telltale.models import TaskState
from telltale.owners import owned_by
from tests.app import django_tasks
from tests.runners.benches import ProcessBench
from tests.runners.watching import ended, lines

pytestmark = pytest.mark.django_db(transaction=True)

count_now = django_tasks.count.using(backend="immediate")


def test_its_own_enqueue_makes_the_row(tmp_path: Path) -> None:
    ada = User.objects.create_user("ada")
    with owned_by(ada):
        result = django_tasks.count.enqueue(str(tmp_path / "log"), 3, 0.0)
    row = TaskState.objects.get()
    assert (row.state, row.runner, row.runner_id, row.owner) == (State.QUEUED, "django_tasks", result.id, ada)
    assert (row.label, row.call["args"]) == ("Count", [str(tmp_path / "log"), 3, 0.0])


def test_an_untracked_task_has_no_row(tmp_path: Path) -> None:
    django_tasks.untracked.using(backend="immediate").enqueue(str(tmp_path / "log"))
    assert lines(tmp_path) == ["untracked"]
    assert TaskState.objects.count() == 0


def test_a_transaction_that_rolls_back_takes_both_along() -> None:
    with transaction.atomic():
        django_tasks.fail.enqueue("log")
        assert TaskState.objects.count() == 1
        transaction.set_rollback(True)
    assert (TaskState.objects.count(), DBTaskResult.objects.count()) == (0, 0)


def test_enqueue_by_our_word_makes_one_row_tied_to_the_result() -> None:
    row = telltale.enqueue(django_tasks.fail, "log")
    row.refresh_from_db()
    assert row.runner_id == str(DBTaskResult.objects.get().pk)
    assert TaskState.objects.count() == 1


def test_the_immediate_back_end_runs_and_ends_it(tmp_path: Path) -> None:
    count_now.enqueue(str(tmp_path / "log"), 3, 0.0)
    row = TaskState.objects.get()
    assert (row.state, row.attempt, row.result) == (State.SUCCEEDED, 1, "/counted/")


def test_the_immediate_back_end_by_our_word_makes_one_row(tmp_path: Path) -> None:
    row = telltale.enqueue(count_now, str(tmp_path / "log"), 3, 0.0)
    assert (ended(row).state, ended(row).attempt) == (State.SUCCEEDED, 1)
    assert TaskState.objects.count() == 1


def test_an_async_task_runs_in_another_thread_and_reports(tmp_path: Path) -> None:
    django_tasks.count_async.using(backend="immediate").enqueue(str(tmp_path / "log"), 5)
    row = TaskState.objects.get()
    assert (row.state, row.snapshot.progress.current) == (State.SUCCEEDED, 5)


def test_a_task_run_inside_another_is_a_run_of_its_own(tmp_path: Path) -> None:
    django_tasks.runs_another.using(backend="immediate").enqueue(str(tmp_path / "log"))
    outer = TaskState.objects.get(name__endswith="runs_another")
    inner = TaskState.objects.get(name__endswith="count")
    assert (outer.state, outer.result) == (State.SUCCEEDED, "/outer/")
    assert (inner.state, inner.result) == (State.SUCCEEDED, "/counted/")


def test_a_failure_of_the_immediate_back_end_is_told(tmp_path: Path) -> None:
    django_tasks.fail.using(backend="immediate").enqueue(str(tmp_path / "log"))
    row = TaskState.objects.get()
    assert (row.state, row.error) == (State.FAILED, "Row 7 has no name.")


@pytest.mark.service
class TestWorker:
    def test_what_its_own_enqueue_queued_is_run_and_told(self, db_bench: ProcessBench, tmp_path: Path) -> None:
        django_tasks.count.enqueue(str(tmp_path / "log"), 3, 0.0)
        row = TaskState.objects.get()
        db_bench.start()
        assert ended(row).state == State.SUCCEEDED

    def test_a_worker_that_is_quicker_than_the_asker_waits_for_its_row(
        self, db_bench: ProcessBench, tmp_path: Path
    ) -> None:
        db_bench.start()
        for number in range(10):
            telltale.enqueue(django_tasks.count, str(tmp_path / "log"), number, 0.0)
        for row in TaskState.objects.all():
            assert ended(row).state == State.SUCCEEDED
        assert TaskState.objects.count() == 10
