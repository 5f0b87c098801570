"""Ends that another process reports: they name the process whose attempt they end, and never end another one's."""

import os
from collections.abc import Sequence

import pytest

from telltale import store
from telltale.core.states import State
from telltale.dispatch.rows import end_from_outside
from telltale.models import TaskState
from telltale.worker.attempt import worker_name

pytestmark = pytest.mark.django_db(transaction=True)

CHILD = 4_000_001
"""The process of the attempt that is reported; no real one has such an id."""


def claim(row: TaskState, worker: str) -> None:
    assert isinstance(store.claim(task_id=row.pk, worker=worker), store.Claim)


@pytest.fixture
def row() -> TaskState:
    return store.queue(runner="test", runner_id="abc", name="app.work").task


def test_the_attempt_of_the_named_process_is_ended(row: TaskState) -> None:
    claim(row, worker_name(CHILD))
    end_from_outside("test", "abc", State.LOST, pids=[CHILD, os.getpid()])
    assert store.get_task(row.pk).state == State.LOST


@pytest.mark.parametrize("successor", [worker_name(CHILD + 1), f"elsewhere:{CHILD}"])
@pytest.mark.parametrize("state", [State.LOST, State.FAILED, State.CANCELLED])
@pytest.mark.parametrize("pids", [[CHILD], []])
def test_the_attempt_of_another_process_is_never_ended(
    row: TaskState, successor: str, state: State, pids: Sequence[int]
) -> None:
    claim(row, worker_name(CHILD))
    claim(row, successor)
    end_from_outside("test", "abc", state, pids=pids, error="The task took too long and was stopped.")
    after = store.get_task(row.pk)
    assert (after.state, after.attempt, after.error) == (State.RUNNING, 2, None)
    assert store.end(row.pk, 2, State.SUCCEEDED) is not None, "the successor's end is written"


@pytest.mark.parametrize("pids", [[CHILD], []])
def test_a_task_that_no_process_has_begun_fails_with_words(row: TaskState, pids: Sequence[int]) -> None:
    end_from_outside("test", "abc", State.LOST, pids=pids)
    after = store.get_task(row.pk)
    assert after.state == State.FAILED, "nothing had begun that could be lost"
    assert after.error == "The worker was stopped before it started this task."


def test_a_task_that_is_claimed_while_its_end_is_reported_is_not_ended(row: TaskState, monkeypatch) -> None:
    end = store.end

    def claim_first(*args: object, **kwargs: object) -> object:
        claim(row, "elsewhere:1")
        return end(*args, **kwargs)

    monkeypatch.setattr(store, "end", claim_first)
    end_from_outside("test", "abc", State.LOST, pids=[CHILD])
    after = store.get_task(row.pk)
    assert (after.state, after.worker) == (State.RUNNING, "elsewhere:1")


@pytest.mark.parametrize(("pids", "state"), [([CHILD], State.LOST), ([CHILD + 1], State.RETRYING), ([], State.FAILED)])
def test_a_task_that_waits_for_its_retry_is_ended_by_its_own_process_or_if_its_message_is_discarded(
    row: TaskState, pids: Sequence[int], state: State
) -> None:
    claim(row, worker_name(CHILD))
    store.set_retrying(row.pk, 1)
    end_from_outside("test", "abc", State.LOST if pids else State.FAILED, pids=pids)
    assert store.get_task(row.pk).state == state
