"""Rows that another transaction has locked: on PostgreSQL and MariaDB, no worker waits for that transaction's end."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import Error, connection, connections, transaction

import telltale
from telltale import store
from telltale.dispatch.rows import create_row_unless_there, find_or_create_row
from telltale.dispatch.runner import Call
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.store.lock_waits import MYSQL_LOCK_WAIT_S
from telltale.worker.run import run_attempt
from tests.worker.conftest import assert_eventually

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def rows_can_be_locked() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite locks the database as a whole.")


@contextmanager
def in_thread(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Run `work` in a thread with connections of its own, beside the block; it has ended after the block."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(60)
    assert errors == []
    assert not thread.is_alive()


def call_of(task_id: UUID | None = None) -> Call:
    """A call of a runner; with an id, its message carries the row's id, as Celery's does."""
    owner = None if task_id is None else Owner()
    return Call(runner="test", runner_id=uuid4().hex, name="work", task_id=task_id, owner=owner)


def run_as_worker(call: Call) -> None:
    task_id, _owner = find_or_create_row(call)
    create_row = lambda: create_row_unless_there(call)  # noqa: E731
    with run_attempt(task_id=task_id, runner=call.runner, runner_id=call.runner_id, create_row=create_row) as tracker:
        tracker.current, tracker.total = 7, 7


@pytest.mark.parametrize("task_id", [uuid4(), None], ids=["the message carries the row", "the row is looked up"])
@pytest.mark.parametrize("is_rolled_back", [False, True])
def test_a_task_whose_row_is_not_committed_yet_runs_and_its_end_follows(
    task_id: UUID | None, is_rolled_back: bool
) -> None:
    call = call_of(task_id)
    with transaction.atomic():
        store.queue(runner=call.runner, runner_id=call.runner_id, name=call.name, task_id=task_id)
        with in_thread(lambda: run_as_worker(call)):
            pass  # The worker is done while this transaction is still open.
        transaction.set_rollback(is_rolled_back)
    assert_eventually(lambda: TaskState.objects.filter(runner_id=call.runner_id, state="succeeded").exists())
    assert TaskState.objects.get().progress["current"] == 7


def test_a_running_task_is_shown_once_its_row_is_committed() -> None:
    call, begun, is_shown = call_of(uuid4()), threading.Event(), threading.Event()

    def work() -> None:
        with run_attempt(task_id=call.task_id, create_row=lambda: create_row_unless_there(call)):
            begun.set()
            for _ in telltale.progress(iter(int, 1)):
                if is_shown.wait(0.01):
                    break

    with ExitStack() as stack:
        with transaction.atomic():
            store.queue(runner=call.runner, runner_id=call.runner_id, name=call.name, task_id=call.task_id)
            stack.enter_context(in_thread(work))
            assert begun.wait(30)
        try:
            assert_eventually(lambda: TaskState.objects.get().state == "running")
        finally:
            is_shown.set()


@pytest.mark.parametrize("columns", [{}, {"state": "retrying", "cancel_requested": True}], ids=["queued", "cancelled"])
def test_a_task_whose_committed_row_is_locked_runs_and_its_end_follows(queue: Any, columns: dict[str, Any]) -> None:
    task, errors = queue(), []
    TaskState.objects.filter(pk=task.pk).update(**columns)

    def work() -> None:
        try:
            store.claim(task_id=task.pk, worker="w")
        except Error as error:
            errors.append(error)
        with run_attempt(task_id=task.pk) as tracker:
            tracker.current = 7

    with transaction.atomic():
        TaskState.objects.select_for_update().get(pk=task.pk)
        with in_thread(work):
            pass  # The worker is done while this transaction is still open.
    assert [type(error) for error in errors] == [store.RowLocked]
    expected = "cancelled" if columns else "succeeded"
    assert_eventually(lambda: TaskState.objects.get().state == expected)
    assert TaskState.objects.get().attempt == 1


def test_a_delivery_of_a_task_that_runs_once_at_most_waits_for_a_transaction_that_may_begin_it(queue: Any) -> None:
    task, claims, is_over = queue(), [], threading.Event()

    def deliver_again() -> None:
        claims.append(store.claim(task_id=task.pk, worker="w", at_most_once=True))
        is_over.set()

    with ExitStack() as stack:  # noqa: SIM117 (the transaction ends before the thread is joined)
        with transaction.atomic():
            assert isinstance(store.claim(task_id=task.pk, worker="first", at_most_once=True), store.Claim)
            stack.enter_context(in_thread(deliver_again))
            assert not is_over.wait(MYSQL_LOCK_WAIT_S + 0.3)
    assert [claim.is_superseded for claim in claims] == [True]


def test_one_locked_row_keeps_no_other_task_from_being_saved(queue: Any) -> None:
    locked, others = queue(), [queue() for _ in range(5)]
    trackers, is_over = [], threading.Event()

    def work(task: TaskState) -> None:
        with run_attempt(task_id=task.pk) as tracker:
            trackers.append(tracker)
            is_over.wait(60)

    workers = [in_thread(lambda task=task: work(task)) for task in (locked, *others)]
    for worker in workers:
        worker.__enter__()
    try:
        assert_eventually(lambda: TaskState.objects.filter(state="running").count() == 6)
        with transaction.atomic():
            TaskState.objects.select_for_update().get(pk=locked.pk)
            for tracker in trackers:
                tracker.current = 3
            assert_eventually(lambda: TaskState.objects.filter(progress__current=3).count() == 5)
    finally:
        is_over.set()
        for worker in workers:
            worker.__exit__(None, None, None)


def test_the_limit_of_the_sites_own_transaction_returns() -> None:
    statement = {
        "postgresql": "SELECT current_setting('lock_timeout')",
        "mysql": "SELECT @@SESSION.innodb_lock_wait_timeout",
    }[connection.vendor]

    def limit() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0]

    before = limit()
    with transaction.atomic():
        with store.limited_lock_waits():
            assert limit() != before
        assert limit() == before
        with pytest.raises(ZeroDivisionError), store.limited_lock_waits():
            raise ZeroDivisionError
        assert limit() == before
    assert limit() == before
