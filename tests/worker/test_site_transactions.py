"""A site's own transaction around a task, such as `@transaction.atomic` above `tracked`: no end rolls back with it."""

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

import telltale
from telltale import store
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner
from telltale.worker.run import run_attempt
from tests.worker.conftest import assert_eventually, wait_until_idle

pytestmark = pytest.mark.django_db(transaction=True)

needs_two_writers = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one writer, which is the site's transaction."
)


def state(task: TaskState) -> str:
    return TaskState.objects.get(pk=task.pk).state


def test_a_task_whose_failure_rolls_the_transaction_back_has_failed_with_its_words_and_one_notice(queue) -> None:
    ada = User.objects.create_user("ada")
    task = queue(owner=Owner(user_id=ada.pk))
    with pytest.raises(telltale.TaskError), transaction.atomic(), run_attempt(task_id=task.pk) as tracker:
        User.objects.create_user("undone")
        tracker.current = 7
        raise telltale.TaskError("Row 7 has no name.")
    assert_eventually(lambda: state(task) == "failed")
    row = TaskState.objects.get(pk=task.pk)
    assert (row.error, row.snapshot.progress.current) == ("Row 7 has no name.", 7)
    assert [notice.level for notice in StoredNotice.objects.all()] == ["error"]
    assert not User.objects.filter(username="undone").exists()


def test_a_failure_that_is_caught_within_the_transaction_is_written_once(queue) -> None:
    task = queue()
    with transaction.atomic():
        with pytest.raises(telltale.TaskError), run_attempt(task_id=task.pk):
            raise telltale.TaskError("Row 7 has no name.")
        User.objects.create_user("kept")
    assert_eventually(lambda: state(task) == "failed")
    wait_until_idle()
    row = TaskState.objects.get(pk=task.pk)
    assert (row.state, row.attempt, row.error) == ("failed", 1, "Row 7 has no name.")
    assert User.objects.filter(username="kept").exists()


def test_a_task_that_succeeds_has_succeeded_when_the_transaction_is_committed(queue) -> None:
    task = queue()
    with transaction.atomic(), run_attempt(task_id=task.pk) as tracker:
        tracker.result = "/done/"
    row = TaskState.objects.get(pk=task.pk)
    assert (row.state, row.attempt, row.result) == ("succeeded", 1, "/done/")


def test_a_task_whose_work_was_rolled_back_has_not_succeeded(queue) -> None:
    task = queue()
    with transaction.atomic():
        with run_attempt(task_id=task.pk):
            pass
        transaction.set_rollback(True)
    wait_until_idle()
    assert state(task) != "succeeded"


@needs_two_writers
def test_f30_the_claim_and_the_progress_are_visible_within_the_transaction(queue, carried) -> None:
    task = queue()
    with transaction.atomic(), run_attempt(task_id=task.pk) as tracker:
        User.objects.create_user("ada")
        tracker.current = 3
        carried.assert_current(task, 3)
        row = store_row_elsewhere(task)
        assert (row["state"], row["lease_until"] is not None) == ("running", True)


@needs_two_writers
def test_a_transaction_that_ends_without_a_commit_leaves_a_task_that_is_lost_after_its_lease(queue) -> None:
    task = queue()
    with transaction.atomic():
        with run_attempt(task_id=task.pk):
            pass
        transaction.set_rollback(True)
    assert state(task) == "running"
    store.expire(now=store.now() + 1_000)
    assert state(task) == "lost"


def test_a_task_that_is_created_in_the_transaction_begins_and_ends_in_it(queue) -> None:
    with transaction.atomic():
        task = queue()
        with run_attempt(task_id=task.pk):
            pass
        assert state(task) == "succeeded"
        transaction.set_rollback(True)
    assert not TaskState.objects.exists()


@needs_two_writers
def test_a_row_that_does_not_exist_yet_is_created_outside_of_the_transaction(queue) -> None:
    rows: list[TaskState] = []
    with (
        pytest.raises(telltale.TaskError),
        transaction.atomic(),
        run_attempt(runner="test", runner_id="9", create_row=lambda: rows.append(queue(runner_id="9"))),
    ):
        raise telltale.TaskError("Row 7 has no name.")
    assert [state(row) for row in rows] == ["failed"]


def store_row_elsewhere(task: TaskState) -> dict[str, object]:
    """The row as another connection reads it."""
    from telltale.worker.outside import run_outside

    return run_outside(lambda: TaskState.objects.values().get(pk=task.pk))
