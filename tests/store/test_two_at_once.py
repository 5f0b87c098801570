"""F62: two readers that end the same tasks at once, and a migration while workers and readers are at work."""

import threading
from collections import Counter
from contextlib import ExitStack, suppress
from uuid import UUID

import pytest
from django.apps import apps
from django.db import connection, migrations, models
from django.db.migrations.migration import Migration
from django.db.migrations.state import ProjectState

from telltale import store
from telltale.core.states import State
from telltale.migrations._concurrently import AddIndexConcurrently
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner
from tests.store.factories import claim, queue, report, run_at_once

pytestmark = pytest.mark.django_db(transaction=True)

ADA = Owner(session="ada")


def test_f62_of_readers_that_end_the_same_lost_tasks_at_once_each_end_is_written_by_one() -> None:
    claims = [claim(queue(owner=ADA)) for _ in range(6)]
    later = store.now() + 1_000
    readers = [lambda: store.read_topics(["session:ada"], now=later)] * 3
    results = run_at_once(*[lambda: store.expire(now=later)] * 3, *readers)
    assert not [result for result in results if isinstance(result, Exception)]
    ended = Counter(change.snapshot.id for result in results[:3] for change in result)
    assert max(ended.values(), default=0) <= 1
    assert set(TaskState.objects.values_list("state", "attempt")) == {(State.LOST.value, 1)}
    notices = StoredNotice.objects.values_list("task_id", flat=True)
    assert sorted(notices) == sorted(claimed.id for claimed in claims)


def test_f62_of_a_reader_and_the_worker_that_wakes_up_at_the_same_time_one_wins() -> None:
    for _ in range(5):
        claimed = claim(queue(owner=ADA))
        later = store.now() + 1_000

        def save(claimed: store.Claim = claimed, later: float = later) -> store.Saved:
            return store.save([report(claimed)], now=later)[0]

        def expire(claimed: store.Claim = claimed, later: float = later) -> list[store.Changed]:
            return store.expire([claimed.id], now=later)

        saved, ended = run_at_once(save, expire)
        state = TaskState.objects.get(pk=claimed.id).state
        assert (saved.lost, bool(ended), state) in [(True, True, "lost"), (False, False, "running")]


class Colour(Migration):
    """A migration of a newer version: a column that this one does not know, and an index."""

    operations = [migrations.AddField("taskstate", "colour", models.CharField(max_length=9, null=True))]


class ColourIndex(Migration):
    """Its index, in a migration of its own."""

    atomic = False
    operations = [AddIndexConcurrently("taskstate", models.Index(fields=["colour"], name="telltale_task_colour"))]


def test_f62_a_migration_and_its_reverse_disturb_no_worker_and_no_reader() -> None:
    is_over = threading.Event()
    done: list[UUID] = []

    def work() -> None:
        while not is_over.is_set():
            claimed = claim(queue(owner=ADA))
            for seq in range(2, 5):
                # As the saver: it does not wait long for a lock, and saves the next time.
                with suppress(store.RowLocked):
                    [saved] = store.save([report(claimed, seq=seq)])
                    assert not saved.fenced
            assert store.end(claimed.id, claimed.attempt, State.SUCCEEDED) is not None
            done.append(claimed.id)

    def read() -> None:
        while not is_over.is_set():
            store.read_topics(["session:ada"])

    def wait_for_work() -> None:
        count, waiting = len(done), threading.Event()
        for _ in range(1_000):
            if len(done) >= count + 3 or is_over.is_set():
                return
            waiting.wait(0.02)
        raise AssertionError("The workers do nothing.")

    def migrate() -> None:
        with ExitStack() as stack:
            stack.callback(is_over.set)
            state = ProjectState.from_apps(apps)
            between = state.clone()
            Colour("colour", "telltale").mutate_state(between, preserve=False)
            for _twice in range(2):
                wait_for_work()
                with connection.schema_editor() as editor:
                    Colour("colour", "telltale").apply(state.clone(), editor)
                wait_for_work()
                with connection.schema_editor(atomic=False) as editor:
                    ColourIndex("index", "telltale").apply(between.clone(), editor)
                wait_for_work()
                with connection.schema_editor(atomic=False) as editor:
                    ColourIndex("index", "telltale").unapply(between.clone(), editor)
                with connection.schema_editor() as editor:
                    Colour("colour", "telltale").unapply(state.clone(), editor)

    results = run_at_once(work, work, read, migrate)
    assert results == [None] * 4
    assert set(TaskState.objects.values_list("state", flat=True)) == {State.SUCCEEDED.value}
    assert TaskState.objects.count() == StoredNotice.objects.count() == len(done)
