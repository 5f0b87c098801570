"""The row keeps the attempts that newer ones have superseded, up to a bound, and without a statement of its own."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from telltale import store
from telltale.core.past_attempts import KEPT, PastAttempt
from telltale.core.snapshot import TEXT_BYTES
from telltale.core.states import State
from telltale.models import TaskState
from tests.store.factories import claim, queue

pytestmark = pytest.mark.django_db(transaction=True)


def past_of(task: TaskState) -> list[PastAttempt]:
    return [PastAttempt.from_json(values) for values in TaskState.objects.get(pk=task.pk).past_attempts or ()]


def test_a_task_with_one_attempt_keeps_none() -> None:
    task = queue()
    store.end(task.pk, claim(task).attempt, State.FAILED)
    assert TaskState.objects.get(pk=task.pk).past_attempts is None


def test_an_attempt_that_failed_and_was_requested_again_is_kept_with_its_times_and_its_end() -> None:
    task = queue()
    first = store.claim(task_id=task.pk, worker="host:7", now=1_000.0)
    assert isinstance(first, store.Claim)
    store.end(
        task.pk, 1, State.FAILED, error="The file is empty.", detail="Traceback\nValueError: empty\n", now=1_030.0
    )
    assert store.requeue(task.pk, now=1_100.0) is not None
    assert past_of(task) == [
        PastAttempt(
            number=1,
            state=State.FAILED,
            started_at=1_000.0,
            ended_at=1_030.0,
            next_at=1_100.0,
            error="The file is empty.",
            exception="ValueError: empty",
            worker="host:7",
        )
    ]


def test_an_attempt_that_its_runner_retries_is_kept_from_the_claim_of_the_next() -> None:
    task = queue()
    store.claim(task_id=task.pk, worker="w", now=1_000.0)
    store.set_retrying(task.pk, 1, error="No connection", now=1_010.0)
    assert past_of(task) == []
    store.claim(task_id=task.pk, worker="w", now=1_060.0)
    [past] = past_of(task)
    assert (past.state, past.ended_at, past.next_at, past.error) == (State.RETRYING, 1_010.0, 1_010.0, "No connection")


def test_an_attempt_whose_worker_died_is_kept_with_the_last_contact() -> None:
    task = queue()
    first = store.claim(task_id=task.pk, worker="w", now=1_000.0)
    assert isinstance(first, store.Claim)
    store.save([store.Report(id=task.pk, attempt=1, seq=5, progress=first.snapshot.progress)], now=1_020.0)
    store.claim(task_id=task.pk, worker="w2", now=1_050.0)
    [past] = past_of(task)
    assert (past.state, past.ended_at, past.worker) == (State.RUNNING, 1_020.0, "w")


def test_a_lost_attempt_that_its_worker_takes_back_is_kept_as_continued() -> None:
    task = queue()
    first = store.claim(task_id=task.pk, worker="w", now=1_000.0)
    assert isinstance(first, store.Claim)
    store.expire(now=2_000.0)
    assert store.take_back(first, now=2_100.0) is not None
    [past] = past_of(task)
    assert (past.state, past.is_continued, past.ended_at, past.next_at) == (State.LOST, True, 2_000.0, 2_100.0)


def test_the_newest_are_kept_and_their_texts_are_bounded() -> None:
    task = queue()
    for _number in range(KEPT + 3):
        store.end(task.pk, claim(task).attempt, State.FAILED, error="é" * TEXT_BYTES, detail="x" * 60_000)
    numbers = [past.number for past in past_of(task)]
    assert numbers == list(range(3, KEPT + 3))
    assert len(json.dumps(TaskState.objects.get(pk=task.pk).past_attempts, ensure_ascii=False).encode()) < 10_240


def test_a_further_attempt_costs_no_further_statement() -> None:
    task, again = queue(), queue()
    store.end(again.pk, claim(again).attempt, State.FAILED)
    first, second = statements_of(task), statements_of(again)
    assert len(past_of(again)) == 1
    assert len(second) == len(first) == 2, second


def statements_of(task: TaskState) -> list[str]:
    """The statements of a claim that concern tasks."""
    with CaptureQueriesContext(connection) as statements:
        claim(task)
    return [each["sql"] for each in statements if "telltale_taskstate" in each["sql"]]


def test_what_a_newer_version_keeps_can_be_read() -> None:
    values = PastAttempt(number=1, state=State.LOST).to_json() | {"added_later": 7}
    assert PastAttempt.from_json(values) == PastAttempt(number=1, state=State.LOST)
