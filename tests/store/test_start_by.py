"""A queued task that must begin by a certain time, and deliveries that may begin it only once."""

import pytest

from telltale import store
from telltale.core.states import State
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner
from telltale.store.values import Claim, Refusal

pytestmark = pytest.mark.django_db

NOW = 1_000_000.0


def queued(start_by: float | None = NOW + 60, **fields: object) -> TaskState:
    return store.queue(runner="test", runner_id="1", name="import", start_by=start_by, now=NOW, **fields).task


def claim(row: TaskState, *, now: float, **options: bool) -> Claim | Refusal:
    return store.claim(task_id=row.pk, runner_id=row.runner_id, worker="w", now=now, **options)


def test_a_task_that_no_worker_began_in_time_ends_as_failed_with_a_notice(django_user_model: type) -> None:
    ada = django_user_model.objects.create_user("ada")
    row = queued(owner=Owner.of(ada))
    assert store.get_task(row.pk, now=NOW + 59).state == State.QUEUED
    ended = store.get_task(row.pk, now=NOW + 61)
    assert (ended.state, ended.error, ended.lease_until) == (State.FAILED, "No worker started this task.", None)
    assert StoredNotice.objects.count() == 1


def test_a_task_without_such_a_time_waits_on() -> None:
    row = queued(start_by=None)
    assert store.get_task(row.pk, now=NOW + 86_400).state == State.QUEUED


def test_a_task_that_begins_has_an_ordinary_lease() -> None:
    row = queued()
    claimed = claim(row, now=NOW + 59)
    assert isinstance(claimed, Claim)
    assert store.get_task(row.pk, now=NOW + 61).state == State.RUNNING


def test_many_tasks_have_the_same_time() -> None:
    row = queued()
    [other] = store.queue_many(
        [(row.pk.__class__(int=7), "2", ())], runner="test", name="n", label="", owner=Owner(), start_by=NOW + 60
    )
    assert {change.snapshot.id for change in store.expire(now=NOW + 61)} == {str(row.pk), str(other.pk)}


def test_another_attempt_has_a_time_of_its_own() -> None:
    row = queued()
    store.expire(now=NOW + 61)
    changed = store.requeue(row.pk, runner_id="2", start_by=NOW + 160, now=NOW + 100)
    assert changed is not None
    assert store.get_task(row.pk, now=NOW + 159).state == State.QUEUED
    assert store.get_task(row.pk, now=NOW + 161).state == State.FAILED


def test_a_task_can_get_more_time_and_never_less() -> None:
    row = queued()
    for start_by in (NOW + 90, NOW + 30):
        store.postpone_start_by([row.pk], start_by)
    assert TaskState.objects.get().lease_until == NOW + 90


def test_a_task_without_such_a_time_gets_none_and_a_running_one_keeps_its_lease() -> None:
    row = queued(start_by=None)
    store.postpone_start_by([row.pk], NOW + 90)
    assert TaskState.objects.get().lease_until is None
    claim(row, now=NOW)
    store.postpone_start_by([row.pk], NOW + 100_000)
    assert TaskState.objects.get().lease_until < NOW + 1_000


def test_of_two_deliveries_that_run_at_most_once_the_second_is_refused() -> None:
    row = queued()
    assert isinstance(claim(row, now=NOW, at_most_once=True), Claim)
    refusal = claim(row, now=NOW, at_most_once=True)
    assert refusal == Refusal(state=State.RUNNING, is_superseded=True)
    assert TaskState.objects.get().attempt == 1


@pytest.mark.parametrize("end", [State.SUCCEEDED, State.FAILED, State.CANCELLED, State.LOST])
def test_a_delivery_of_an_ended_task_that_runs_at_most_once_is_refused(end: State) -> None:
    row = queued()
    claim(row, now=NOW)
    store.end(row.pk, 1, end, now=NOW)
    assert claim(row, now=NOW, at_most_once=True) == Refusal(state=end, is_superseded=True)


def test_a_delivery_without_a_row_that_runs_at_most_once_is_refused() -> None:
    row = queued()
    store.delete_queued(row.pk)
    assert claim(row, now=NOW, at_most_once=True) == Refusal(state=None, is_superseded=True)
