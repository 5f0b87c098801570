"""After a restored backup: what docs/upgrading.md says of each kind of row."""

import json
from typing import Any

import pytest

from telltale import store
from telltale.core.connection import Connection
from telltale.core.policy import Grant
from telltale.core.states import State
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner
from tests.simulation.view import View
from tests.store.factories import claim, queue, report

pytestmark = pytest.mark.django_db

ADA = Owner(session="ada")


class Backup:
    """All rows of one moment."""

    def __init__(self) -> None:
        self._rows = {table: list(table.objects.values()) for table in (TaskState, StoredNotice)}

    def restore(self) -> None:
        StoredNotice.objects.all().delete()
        TaskState.objects.all().delete()
        for table, rows in self._rows.items():
            table.objects.bulk_create(table(**row) for row in rows)


def state_of(task: Any) -> str:
    return TaskState.objects.get(pk=getattr(task, "pk", None) or task.id).state


def test_a_task_that_ended_after_the_backup_is_lost_at_the_first_read_and_can_run_again() -> None:
    task = queue(owner=ADA)
    claimed, backup = claim(task), Backup()
    assert store.end(claimed.id, claimed.attempt, State.SUCCEEDED) is not None
    backup.restore()
    [envelope] = [it for it in store.read_topics(["session:ada"], now=store.now() + 1_000) if it.snapshot]
    assert envelope.snapshot is not None
    assert envelope.snapshot.state is State.LOST
    assert store.requeue(task.pk) is not None


def test_a_worker_that_never_stopped_saves_as_before_or_takes_its_lost_task_back() -> None:
    claimed, backup = claim(queue(owner=ADA)), Backup()
    store.save([report(claimed, 0.9, seq=50)])
    backup.restore()
    [saved] = store.save([report(claimed, 0.95, seq=51)])
    assert (saved.fenced, saved.lost, state_of(claimed)) == (False, False, "running")
    backup.restore()
    store.expire(now=store.now() + 1_000)
    [saved] = store.save([report(claimed, 0.95, seq=52)])
    assert saved.lost
    assert store.take_back(claimed) is not None
    assert state_of(claimed) == "running"


def test_a_worker_whose_row_is_gone_is_told_and_writes_nothing() -> None:
    backup = Backup()
    claimed = claim(queue(owner=ADA))
    backup.restore()
    [saved] = store.save([report(claimed)])
    assert saved.unknown
    assert store.end(claimed.id, claimed.attempt, State.SUCCEEDED) is None
    assert not TaskState.objects.exists()


def test_a_queued_task_is_begun_by_the_message_in_its_runners_queue() -> None:
    task = queue(owner=ADA)
    backup = Backup()
    claim(task)
    backup.restore()
    assert claim(task).attempt == 1


def test_a_notice_that_was_shown_after_the_backup_is_shown_once_more() -> None:
    notice = store.add_notice("session:ada", "Done")
    backup = Backup()
    assert store.take_notice(notice.id, ["session:ada"])
    backup.restore()
    assert [store.take_notice(notice.id, ["session:ada"]) for _twice in range(2)] == [True, False]


def test_a_page_that_shows_more_than_the_restored_database_is_corrected_when_it_returns() -> None:
    task = queue(owner=ADA)
    claimed, backup, now = claim(task), Backup(), 1_000.0
    view = View()
    changed = store.end(claimed.id, claimed.attempt, State.SUCCEEDED)
    assert changed is not None
    view.receive({"tasks": [changed.snapshot.to_json()]})
    backup.restore()
    connection = Connection(opened_at=now)
    connection.admit(Grant(topics=frozenset({"session:ada"}), expires_at=now + 300), have=view.have, now=now)
    connection.catch_up(store.read_topics(["session:ada"]))
    while (frame := connection.take(now)) is not None:
        view.receive(json.loads(frame))
        now += 1
    assert view.tasks[str(task.pk)].state is State.RUNNING
