"""What is kept, for how long, and what is not deleted before somebody was told."""

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from telltale import store
from telltale.core.states import State
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner

pytestmark = pytest.mark.django_db(transaction=True)

DAY_S = 86_400.0
KEPT = {"BROKER": "memory://", "KEEP_ENDED_S": 10 * DAY_S, "KEEP_UNTOLD_S": 40 * DAY_S, "KEEP_QUEUED_S": 7 * DAY_S}


@pytest.fixture(autouse=True)
def kept(settings: Any) -> None:
    settings.TELLTALE = KEPT


def queue(at: float, **more: Any) -> TaskState:
    return store.queue(runner="tests", name="tests.task", now=at, **more).task


def ended(at: float, **more: Any) -> TaskState:
    task = queue(at, **more)
    claim = store.claim(task_id=task.pk, worker="w", now=at)
    assert isinstance(claim, store.Claim)
    store.end(task.pk, claim.attempt, State.SUCCEEDED, now=at)
    return task


def left() -> set[Any]:
    return set(TaskState.objects.values_list("pk", flat=True))


def test_what_ended_long_ago_goes_and_what_ended_lately_stays() -> None:
    old, young = ended(0.0), ended(5 * DAY_S)
    pruned = store.prune(now=11 * DAY_S)
    assert (pruned.tasks, left()) == (1, {young.pk})
    assert old.pk not in left()


def test_a_task_whose_owner_has_not_seen_its_end_stays_until_the_promise_is_over() -> None:
    ada = User.objects.create(username="ada")
    untold = ended(0.0, owner=Owner(user_id=ada.pk))
    store.prune(now=39 * DAY_S)
    assert left() == {untold.pk}
    assert StoredNotice.objects.filter(shown_at=None).count() == 1
    store.prune(now=41 * DAY_S)
    assert (left(), StoredNotice.objects.count()) == (set(), 0)


def test_a_message_that_was_shown_goes_with_its_task() -> None:
    ada = User.objects.create(username="ada")
    told = ended(0.0, owner=Owner(user_id=ada.pk))
    store.take_notices(told.pk)
    StoredNotice.objects.update(shown_at=DAY_S)
    store.prune(now=10.5 * DAY_S)
    assert (left(), StoredNotice.objects.count()) == (set(), 1)
    store.prune(now=12 * DAY_S)
    assert StoredNotice.objects.count() == 0


def test_what_runs_or_waits_is_never_deleted() -> None:
    running, waiting, scheduled = queue(0.0), queue(6 * DAY_S), queue(0.0, due_at=12 * DAY_S)
    store.claim(task_id=running.pk, worker="w", now=0.0)
    store.prune(now=12 * DAY_S)
    assert left() == {running.pk, waiting.pk, scheduled.pk}
    assert TaskState.objects.get(pk=scheduled.pk).state == State.QUEUED


def test_what_nobody_begins_is_given_up_in_words() -> None:
    forgotten, asked_again = queue(0.0), ended(0.0)
    TaskState.objects.filter(pk=asked_again.pk).update(state=State.FAILED)
    store.requeue(asked_again.pk, now=5 * DAY_S)
    pruned = store.prune(now=8 * DAY_S)
    assert [str(forgotten.pk)] == [changed.snapshot.id for changed in pruned.given_up]
    row = TaskState.objects.get(pk=forgotten.pk)
    assert (row.state, row.error) == (State.FAILED, "No worker started this task.")


def test_one_pruning_deletes_a_bounded_number() -> None:
    for _ in range(5):
        ended(0.0)
    assert [store.prune(now=11 * DAY_S, most=2).tasks for _ in range(4)] == [2, 2, 1, 0]


def test_the_command_prunes_to_the_end_and_says_how_much() -> None:
    for _ in range(3):
        ended(0.0)
    out = StringIO()
    call_command("telltale", "prune", stdout=out)
    assert "Deleted 3 tasks that ended more than 10 days ago, and 0 notices." in out.getvalue()
    assert left() == set()
