"""Pruning: how long tasks and notices are kept, and that no notice is deleted before it was shown or is too old."""

from io import StringIO
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection

from telltale import store
from telltale.core.states import State
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner
from telltale.store import pruning
from telltale.store.pruning import DELETED_TOGETHER

pytestmark = pytest.mark.django_db(transaction=True)

DAY_S = 86_400.0
SETTINGS = {
    "BROKER": "memory://",
    "KEEP_ENDED_S": 10 * DAY_S,
    "KEEP_UNSEEN_S": 40 * DAY_S,
    "KEEP_QUEUED_S": 7 * DAY_S,
}


@pytest.fixture(autouse=True)
def keep_for_days(settings: Any) -> None:
    settings.TELLTALE = SETTINGS


def queue(queued_at: float, **columns: Any) -> TaskState:
    return store.queue(runner="tests", name="tests.task", now=queued_at, **columns).task


def ended_task(ended_at: float, **columns: Any) -> TaskState:
    task = queue(ended_at, **columns)
    claim = store.claim(task_id=task.pk, worker="w", now=ended_at)
    assert isinstance(claim, store.Claim)
    store.end(task.pk, claim.attempt, State.SUCCEEDED, now=ended_at)
    return task


def remaining_ids() -> set[Any]:
    return set(TaskState.objects.values_list("pk", flat=True))


def test_a_task_that_ended_long_ago_is_deleted_and_one_that_ended_recently_stays() -> None:
    old, recent = ended_task(0.0), ended_task(5 * DAY_S)
    pruned = store.prune(now=11 * DAY_S)
    assert (pruned.tasks, remaining_ids()) == (1, {recent.pk})
    assert old.pk not in remaining_ids()


def test_a_task_whose_notice_was_not_shown_stays_until_the_notice_is_too_old() -> None:
    ada = User.objects.create(username="ada")
    task = ended_task(0.0, owner=Owner(user_id=ada.pk))
    store.prune(now=39 * DAY_S)
    assert remaining_ids() == {task.pk}
    assert StoredNotice.objects.filter(shown_at=None).count() == 1
    store.prune(now=41 * DAY_S)
    assert (remaining_ids(), StoredNotice.objects.count()) == (set(), 0)


def test_a_notice_that_was_shown_is_kept_for_its_own_time_and_its_task_may_go_before() -> None:
    ada = User.objects.create(username="ada")
    task = ended_task(0.0, owner=Owner(user_id=ada.pk))
    store.take_notices(task.pk)
    StoredNotice.objects.update(shown_at=DAY_S)
    store.prune(now=10.5 * DAY_S)
    assert (remaining_ids(), StoredNotice.objects.count()) == (set(), 1)
    store.prune(now=12 * DAY_S)
    assert StoredNotice.objects.count() == 0


def test_f61_a_task_that_runs_or_waits_is_never_deleted() -> None:
    running, waiting, scheduled = queue(0.0), queue(6 * DAY_S), queue(0.0, due_at=12 * DAY_S)
    store.claim(task_id=running.pk, worker="w", now=0.0)
    store.prune(now=12 * DAY_S)
    assert remaining_ids() == {running.pk, waiting.pk, scheduled.pk}
    assert TaskState.objects.get(pk=scheduled.pk).state == State.QUEUED


def test_members_that_ended_long_ago_stay_until_their_group_has_ended() -> None:
    members = [store.Member(runner_id=f"{n}", name="work", label="Work", args=[], kwargs={}) for n in range(2)]
    group = store.queue_group(
        [members], group_id=uuid4(), runner="tests", name="all", label="All", owner=Owner(), now=0.0
    )
    first, second = store.member_ids(group)
    for member, at in ((first, 0.0), (second, 6 * DAY_S)):
        store.claim(task_id=member, worker="w", now=at)
    store.end(first, 1, State.SUCCEEDED, now=0.0)
    assert store.prune(now=11 * DAY_S).tasks == 0
    store.end(second, 1, State.SUCCEEDED, now=11 * DAY_S)
    assert TaskState.objects.get(pk=group.pk).state == State.SUCCEEDED
    store.prune(now=11 * DAY_S)
    assert remaining_ids() == {group.pk, second}


def test_a_task_that_no_worker_started_ends_as_failed_with_an_error_that_says_so() -> None:
    forgotten, retried = queue(0.0), ended_task(0.0)
    TaskState.objects.filter(pk=retried.pk).update(state=State.FAILED)
    store.requeue(retried.pk, now=5 * DAY_S)
    pruned = store.prune(now=8 * DAY_S)
    assert [str(forgotten.pk)] == [change.snapshot.id for change in pruned.given_up]
    row = TaskState.objects.get(pk=forgotten.pk)
    assert (row.state, row.error) == (State.FAILED, "No worker started this task.")


def test_one_call_deletes_a_bounded_number() -> None:
    for _ in range(5):
        ended_task(0.0)
    assert [store.prune(now=11 * DAY_S, most=2).tasks for _ in range(4)] == [2, 2, 1, 0]


def test_the_command_deletes_everything_that_is_too_old_and_reports_the_numbers() -> None:
    for _ in range(3):
        ended_task(0.0)
    output = StringIO()
    call_command("telltale", "prune", stdout=output)
    assert "Deleted 3 tasks that ended more than 10 days ago, and 0 notices." in output.getvalue()
    assert remaining_ids() == set()


class Transactions:
    """The rows that each transaction of this thread's connection deletes and changes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.row_counts = [0]
        self._commit = connection._commit
        monkeypatch.setattr(connection, "_commit", self._next)

    def _next(self) -> None:
        self._commit()
        self.row_counts.append(0)

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if sql.startswith(("DELETE", "UPDATE")):
            assert connection.in_atomic_block
            self.row_counts[-1] += context["cursor"].rowcount
        return result


def test_many_old_rows_are_deleted_in_transactions_of_a_few_rows_each(monkeypatch: pytest.MonkeyPatch) -> None:
    ada = User.objects.create(username="ada")
    tasks = TaskState.objects.bulk_create(
        TaskState(runner="tests", name="x", label="x", state=State.FAILED, created_at=0.0, ended_at=1.0, owner=ada)
        for _ in range(3 * DELETED_TOGETHER)
    )
    StoredNotice.objects.bulk_create(
        StoredNotice(task=task, attempt=1, topic="user:1", level="info", text="x", created_at=1.0, shown_at=5 * DAY_S)
        for task in tasks
    )
    transactions = Transactions(monkeypatch)
    with connection.execute_wrapper(transactions):
        pruned = [store.prune(now=now) for now in (11 * DAY_S, 16 * DAY_S)]
    assert [(each.tasks, each.notices) for each in pruned] == [(len(tasks), 0), (0, len(tasks))]
    assert remaining_ids() == set()
    # The deletion of a task clears the reference of its notice.
    assert sum(transactions.row_counts) == 2 * len(tasks) + len(tasks)
    assert max(transactions.row_counts) <= 2 * DELETED_TOGETHER


@pytest.mark.parametrize("row_s", [0.0001, 0.001, 0.005, 0.02, 0.09])
def test_a_transaction_is_as_large_as_the_last_one_was_fast_so_that_none_is_long(row_s: float) -> None:
    size, took_s = 1, []
    for number in range(100):
        slowness = 4 if number >= 50 else 1
        took_s.append(slowness * row_s * size)
        size = pruning._next_size(size, took_s[-1])
    assert max(took_s) <= max(0.1, 4 * row_s), "one row is the least"
    assert took_s[-1] >= pruning.TRANSACTION_S / 2 or size == DELETED_TOGETHER, "no smaller than need be"


def test_a_slow_database_deletes_in_small_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(12):
        ended_task(0.0)
    clock = Clock(monkeypatch, row_s=0.02)
    transactions = Transactions(monkeypatch)
    with connection.execute_wrapper(transactions), connection.execute_wrapper(clock):
        assert store.prune(now=11 * DAY_S).tasks == 12
    assert max(transactions.row_counts) == 1
    assert remaining_ids() == set()


class Clock:
    """A clock by which deleting a row takes `row_s`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, row_s: float) -> None:
        self._row_s, self._now = row_s, 0.0
        monkeypatch.setattr(pruning, "time", SimpleNamespace(monotonic=lambda: self._now))

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if sql.startswith("DELETE"):
            self._now += self._row_s * context["cursor"].rowcount
        return result
