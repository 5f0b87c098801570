"""Claims: which delivery may run a task."""

from uuid import uuid4

import pytest

from telltale import store
from telltale.core.states import State
from tests.store.factories import claim, queue, report, run_at_once

pytestmark = pytest.mark.django_db(transaction=True)


def test_workers_that_get_the_same_delivery_at_once_each_have_an_attempt_of_their_own() -> None:
    task = queue()
    results = run_at_once(*[lambda: store.claim(task_id=task.pk, worker="w")] * 4)
    assert sorted(claimed.attempt for claimed in results) == [1, 2, 3, 4]
    assert store.get_task(task.pk).attempt == 4


@pytest.mark.parametrize("end", [State.SUCCEEDED, State.CANCELLED])
def test_a_task_that_succeeded_or_was_cancelled_refuses_a_redelivery(end: State) -> None:
    task = queue()
    store.end(task.pk, claim(task).attempt, end)
    refusal = store.claim(task_id=task.pk, worker="w")
    assert isinstance(refusal, store.Refusal)
    assert refusal.state is end


@pytest.mark.parametrize("end", [State.FAILED, State.LOST])
def test_a_redelivery_of_a_task_that_failed_or_was_lost_begins_a_new_attempt(end: State) -> None:
    task = queue()
    first = claim(task)
    store.save([report(first, 0.7)])
    store.end(task.pk, first.attempt, end, error="It broke.")
    second = claim(task)
    assert (second.attempt, second.snapshot.error, second.snapshot.progress.fraction) == (2, None, None)


def test_an_unknown_task_is_refused() -> None:
    assert store.claim(task_id=uuid4(), worker="w") == store.Refusal(state=None)
    assert store.claim(runner="test", runner_id="x", worker="w") == store.Refusal(state=None)


def test_a_claim_that_names_no_task_is_refused_with_the_fix() -> None:
    with pytest.raises(ValueError, match="pass task_id, or both runner and runner_id"):
        store.claim(runner="test", worker="w")


def test_a_claim_and_a_cancellation_at_once_leave_the_task_cancelled_or_running_with_the_request() -> None:
    for _ in range(10):
        task = queue()
        run_at_once(
            lambda task=task: store.claim(task_id=task.pk, worker="w"), lambda task=task: store.request_cancel(task.pk)
        )
        row = store.get_task(task.pk)
        assert row.state == "cancelled" or (row.state == "running" and row.cancel_requested)


@pytest.mark.parametrize("is_lost", [False, True], ids=["while it is stalled", "after it is lost"])
def test_a_stalled_task_that_was_asked_to_cancel_is_not_run_again_by_a_redelivery(is_lost: bool) -> None:
    task = queue()
    claim(task)
    assert store.request_cancel(task.pk) is not None, "its worker is not heard, and may be dead"
    if is_lost:
        store.expire([task.pk], now=store.now() + 1_000)
        assert store.get_task(task.pk).state == "lost"
    refusal = store.claim(task_id=task.pk, worker="w")
    assert isinstance(refusal, store.Refusal)
    assert refusal.state is State.CANCELLED
