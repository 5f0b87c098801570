"""Queueing: keys, joining, and another attempt at a person's request."""

from typing import Any
from uuid import UUID

import pytest

from telltale import store
from telltale.core.states import State
from telltale.models import TaskState
from tests.store.factories import claim, queue, run_at_once

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_queued_task_is_its_first_attempt() -> None:
    task = queue()
    assert (task.state, task.attempt, task.seq, task.ended_at) == ("queued", 1, 0, None)


def test_of_many_calls_with_one_key_one_creates_the_task_and_the_others_join_it() -> None:
    results = run_at_once(*[lambda: store.queue(runner="test", name="work", key="file 7")] * 6)
    assert len({queued.task.pk for queued in results}) == 1
    assert [queued.joined for queued in results].count(False) == 1


def test_a_key_is_free_after_its_task_has_ended() -> None:
    first = queue(key="file 7")
    store.end(first.pk, claim(first).attempt, State.SUCCEEDED)
    assert queue(key="file 7").pk != first.pk


def test_a_key_held_by_a_dead_worker_is_free_after_its_lease() -> None:
    first = queue(key="file 7")
    claim(first)
    second = store.queue(runner="test", name="work", key="file 7", now=store.now() + 1_000)
    assert not second.joined
    assert store.get_task(first.pk).state == "lost"


def test_a_task_that_its_runner_could_not_take_leaves_no_row_but_a_task_that_began_stays() -> None:
    queued, running = queue(), queue()
    claim(running)
    store.delete_queued(queued.pk)
    store.delete_queued(running.pk)
    assert [row.pk for row in TaskState.objects.all()] == [running.pk]


@pytest.mark.parametrize("key", [7, UUID(int=7), ("import", 7)], ids=["number", "UUID", "tuple"])
def test_a_key_that_is_no_text_is_refused_with_the_fix(key: Any) -> None:
    with pytest.raises(TypeError, match=r'is no text: make it one, such as key=f"import-\{pk\}"'):
        store.queue(runner="test", name="work", key=key)
    assert TaskState.objects.count() == 0


def test_a_key_that_is_too_long_is_refused_with_the_fix() -> None:
    with pytest.raises(ValueError, match="Use a hash"):
        queue(key="x" * 256)


def test_f11_of_many_requests_to_run_a_task_again_one_queues_an_attempt() -> None:
    task = queue()
    store.end(task.pk, claim(task).attempt, State.FAILED)
    results = run_at_once(*[lambda: store.requeue(task.pk)] * 5)
    assert len([change for change in results if change is not None]) == 1
    assert (store.get_task(task.pk).state, store.get_task(task.pk).attempt) == ("queued", 2)


@pytest.mark.parametrize("state", [None, State.SUCCEEDED])
def test_a_task_that_runs_or_succeeded_is_not_queued_again(state: State | None) -> None:
    task = queue()
    attempt = claim(task).attempt
    if state is not None:
        store.end(task.pk, attempt, state)
    assert store.requeue(task.pk) is None
