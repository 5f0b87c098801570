"""Ends in the spool: what a later process makes of them."""

import logging
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError

from telltale import store
from telltale.core.snapshot import Progress
from telltale.core.states import State
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.worker import spool
from telltale.worker.spool import SpooledEnd
from tests.worker.conftest import QUICK

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def folder(settings: Any, quick: None, tmp_path: Path) -> Path:
    settings.TELLTALE = {**QUICK, "SPOOL": str(tmp_path / "spool")}
    return tmp_path / "spool"


def end_of(task: TaskState, *, attempt: int | None = 1, state: State = State.FAILED) -> SpooledEnd:
    fields = {"seq": 7, "progress": Progress(current=3), "label": None, "error": "Row 7 has no name."}
    return SpooledEnd(
        task_id=str(task.pk), runner=None, runner_id=None, attempt=attempt, state=state.value, fields=fields
    )


def files(folder: Path) -> list[Path]:
    return list(folder.rglob("*.*"))


def row(task: TaskState) -> TaskState:
    return TaskState.objects.get(pk=task.pk)


def test_an_end_is_written_with_all_that_it_says_and_its_file_is_deleted(queue, folder: Path) -> None:
    task = queue()
    store.claim(task_id=task.pk, worker="w")
    spool.put(end_of(task))
    [file] = files(folder)
    assert (file.stat().st_mode & 0o077, folder.stat().st_mode & 0o077) == (0, 0), "only its user can read it"
    spool.write_all()
    after = row(task)
    assert (after.state, after.error, after.snapshot.progress.current) == ("failed", "Row 7 has no name.", 3)
    assert files(folder) == []


def test_an_attempt_that_was_never_claimed_is_claimed_and_ended(queue) -> None:
    task = queue()
    spool.put(end_of(task, attempt=None))
    spool.write_all()
    assert (row(task).state, row(task).attempt) == ("failed", 1)


def test_an_end_whose_write_fails_after_its_claim_is_written_by_the_next_try(
    queue, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_fields: object) -> None:
        raise OperationalError("the server closed the connection")

    task = queue()
    spool.put(end_of(task, attempt=None))
    with monkeypatch.context() as patched, pytest.raises(OperationalError, match="closed"):
        patched.setattr(store, "end", fail)
        spool.write_all()
    assert row(task).state == "queued", "nothing is left of the first try"
    spool.write_all()
    assert (row(task).state, row(task).error) == ("failed", "Row 7 has no name.")
    assert files(folder) == []


def test_a_cancellation_of_an_attempt_that_was_never_claimed_is_published(queue, carried) -> None:
    task = queue()
    TaskState.objects.filter(pk=task.pk).update(cancel_requested=True)
    spool.put(end_of(task, attempt=None))
    spool.write_all()
    assert row(task).state == "cancelled"
    carried.assert_ended(task)


def test_the_end_of_a_last_member_that_was_never_claimed_ends_its_group(folder: Path) -> None:
    members = [store.Member(runner_id=f"{n}", name="work", label="Work", args=[], kwargs={}) for n in range(2)]
    group = store.queue_group([members], group_id=uuid4(), runner="test", name="all", label="All", owner=Owner())
    for member in TaskState.objects.filter(group_id=group.pk):
        spool.put(end_of(member, attempt=None, state=State.SUCCEEDED))
    spool.write_all()
    assert row(group).state == "succeeded"


def test_an_end_takes_back_that_the_task_was_presumed_lost(queue) -> None:
    task = queue()
    store.claim(task_id=task.pk, worker="w")
    store.expire(now=store.now() + 1_000)
    spool.put(end_of(task))
    spool.write_all()
    assert (row(task).state, row(task).attempt) == ("failed", 2)


def test_a_retry_is_written_as_well(queue) -> None:
    task = queue()
    store.claim(task_id=task.pk, worker="w")
    spool.put(end_of(task, state=State.RETRYING))
    spool.write_all()
    assert (row(task).state, row(task).error) == ("retrying", "Row 7 has no name.")


@pytest.mark.parametrize("attempt", [1, None])
def test_a_newer_attempt_is_not_ended(queue, attempt: int | None) -> None:
    task = queue()
    for worker in ("w1", "w2"):
        store.claim(task_id=task.pk, worker=worker)
    spool.put(end_of(task, attempt=attempt))
    spool.write_all()
    assert (row(task).state, row(task).attempt) == ("running", 2)


def test_a_task_that_was_deleted_and_a_file_that_is_no_end_are_dropped(queue, folder: Path) -> None:
    task = queue()
    spool.put(end_of(task))
    task.delete()
    [file] = files(folder)
    (file.parent / "broken.json").write_text("{")
    spool.write_all()
    assert files(folder) == []


def test_a_directory_that_others_can_write_to_is_not_used(queue, folder: Path, caplog: Any) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    with caplog.at_level(logging.ERROR):
        spool.put(end_of(queue()))
    assert files(folder) == []
    assert "Others can write to" in caplog.text
