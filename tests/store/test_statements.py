"""Statements written by hand do what the ORM does, on every database."""

import uuid
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from telltale.core.states import State
from telltale.models import TaskState
from telltale.store.statements import NextSeq, find_row, insert_row, update_and_read_row, update_row
from tests.store.factories import queue

pytestmark = pytest.mark.django_db(transaction=True)

VALUES: dict[str, Any] = {
    "runner_id": "é“ 100%s %(x)s",
    "label": "",
    "call": {"args": [1, "ß", None], "kwargs": {"a": {"b": []}}},
    "group_id": uuid.uuid4(),
    "progress": {"current": 0.5, "message": "100 % \\ ' \""},
    "usual_s": [1.5, 2.0],
    "cancel_requested": True,
    "is_listening": False,
    "step": 0,
    "started_at": 1_795_000_000.123456,
}


def columns_of(row: TaskState | None) -> dict[str, Any]:
    assert row is not None
    return {field.attname: getattr(row, field.attname) for field in TaskState._meta.concrete_fields}


def test_a_row_is_found_as_the_orm_finds_it() -> None:
    queue()
    task = queue()
    TaskState.objects.filter(pk=task.pk).update(**VALUES)
    expected = columns_of(TaskState.objects.get(pk=task.pk))
    assert columns_of(find_row({"id": task.pk})) == expected
    assert columns_of(find_row({"id": str(task.pk)})) == expected
    assert columns_of(find_row({"runner_id": VALUES["runner_id"], "runner": task.runner})) == expected
    assert find_row({"id": uuid.uuid4()}) is None


@pytest.mark.parametrize("name", VALUES)
def test_a_column_is_written_as_the_orm_writes_it(name: str) -> None:
    task, other = queue(), queue()
    unchanged = columns_of(TaskState.objects.get(pk=other.pk))
    for value in (VALUES[name], None) if TaskState._meta.get_field(name).null else (VALUES[name],):
        row = update_and_read_row({"id": task.pk}, {name: value})
        assert getattr(row, name) == value
        assert columns_of(row) == columns_of(TaskState.objects.get(pk=task.pk))
    assert columns_of(TaskState.objects.get(pk=other.pk)) == unchanged


@pytest.mark.parametrize(
    ("where", "is_met"),
    [
        ({"ended_at": None, "attempt": 1}, True),
        ({"state": ("failed", "queued")}, True),
        ({"created_at__lt": 1e12}, True),
        ({"state": ("failed", "lost")}, False),
        ({"attempt": 2}, False),
        ({"created_at__lt": 1.0}, False),
        ({"lease_until__lt": 1e12}, False),
        ({"runner_id": None, "cancel_requested": True}, False),
    ],
)
def test_a_row_that_does_not_meet_the_conditions_is_not_written(where: dict[str, Any], is_met: bool) -> None:
    task = queue()
    assert update_row({"id": task.pk, **where}, {"label": "new"}) is is_met
    row = update_and_read_row({"id": task.pk, **where}, {"label": "newer"})
    assert (row is not None) is is_met
    assert TaskState.objects.get(pk=task.pk).label == ("newer" if is_met else task.label)


@pytest.mark.parametrize(("at_least", "seq"), [(0, 8), (8, 8), (20, 20)])
def test_the_sequence_number_grows(at_least: int, seq: int) -> None:
    task = queue()
    TaskState.objects.filter(pk=task.pk).update(seq=7)
    row = update_and_read_row({"id": task.pk}, {"seq": NextSeq(at_least)})
    assert row is not None
    assert row.seq == TaskState.objects.get(pk=task.pk).seq == seq


def test_a_row_that_is_returned_is_committed() -> None:
    """SQLite commits an UPDATE that returns rows only once all of them are fetched."""
    task = queue()
    update_and_read_row({"id": task.pk}, {"label": "new"})
    connection.close()
    assert TaskState.objects.get(pk=task.pk).label == "new"


def test_a_row_is_inserted_as_the_orm_inserts_it() -> None:
    rows = [TaskState(runner="thread", name="n", created_at=1.5, **VALUES) for _each in range(2)]
    rows[1].runner_id = "another"
    rows[0].save(force_insert=True)
    insert_row(rows[1])
    for row in rows:
        assert columns_of(TaskState.objects.get(pk=row.pk)) == columns_of(row)
    rows[1].label = "new"
    rows[1].save()
    assert TaskState.objects.get(pk=rows[1].pk).label == "new"
    with pytest.raises(IntegrityError), transaction.atomic():
        insert_row(TaskState(runner="thread", runner_id="another", name="n", created_at=1.5))
    assert TaskState.objects.count() == 2


def test_an_error_in_a_transaction_rolls_it_back() -> None:
    """Also if the caller catches it, as with the ORM."""
    task = queue()
    with transaction.atomic():
        update_row({"id": task.pk}, {"label": "new"})
        with pytest.raises(IntegrityError):
            update_and_read_row({"id": task.pk}, {"state": State.SUCCEEDED.value})  # An end without its instant.
    assert TaskState.objects.get(pk=task.pk).label == task.label
