"""Ends: a task ends once, whatever ends it, and its texts fit into the database."""

import pytest
from django.contrib.auth.models import User

from telltale import store
from telltale.core.states import State
from telltale.models import StoredNotice
from telltale.owners import Owner
from tests.store.factories import claim, queue, run_at_once

pytestmark = pytest.mark.django_db(transaction=True)


def test_of_many_ends_at_once_one_is_written_and_the_owner_gets_one_notice() -> None:
    ada = User.objects.create(username="ada")
    task = queue(owner=Owner(user_id=ada.pk))
    attempt = claim(task).attempt
    states = [State.SUCCEEDED, State.FAILED, State.CANCELLED, State.LOST]
    results = run_at_once(*[lambda state=state: store.end(task.pk, attempt, state) for state in states])
    assert len([change for change in results if change is not None]) == 1
    assert StoredNotice.objects.filter(task=task).count() == 1


def test_f44_texts_are_cut_to_their_bounds_and_freed_of_characters_that_databases_refuse() -> None:
    task = queue(label="x" * 1_000)
    store.end(task.pk, claim(task).attempt, State.FAILED, error="bad\0 \ud800" + "y" * 9_000)
    row = store.get_task(task.pk)
    assert len(row.label.encode()) <= 255
    assert len(row.error.encode()) <= 2_048
    assert row.error.startswith("bad y")


def test_a_task_that_has_not_begun_is_cancelled_at_once() -> None:
    task = queue()
    assert store.request_cancel(task.pk).snapshot.state is State.CANCELLED
    assert store.request_cancel(task.pk) is None
