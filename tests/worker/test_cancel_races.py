"""A cancellation and the end of a task at the same moment, by real threads and connections: there is one end."""

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from django.contrib.auth.models import User
from django.db import connections

import telltale
from telltale import brokers, store
from telltale.core.topics import CANCELLATIONS
from telltale.core.wire import Envelope
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner
from telltale.worker import saver
from telltale.worker.reporter import reporter
from telltale.worker.run import run_attempt
from tests.worker.conftest import assert_eventually

pytestmark = pytest.mark.django_db(transaction=True)


def race(task: TaskState) -> None:
    """Run the task and cancel it, each in a thread, from the same moment on."""
    barrier = threading.Barrier(2)

    def work() -> None:
        barrier.wait(30)
        with suppress(telltale.Cancelled), run_attempt(task_id=task.pk):
            for _step in telltale.progress(range(3)):
                pass
        connections.close_all()

    def cancel() -> None:
        barrier.wait(30)
        changed = store.request_cancel(task.pk)
        telltale.messages.announce(changed.envelopes if changed else [])
        connections.close_all()

    threads = [threading.Thread(target=work), threading.Thread(target=cancel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


@pytest.mark.parametrize("count", [30, pytest.param(500, marks=pytest.mark.fault)])
def test_f09_of_a_cancellation_and_a_success_at_once_one_is_the_end_for_the_owner_and_all_viewers(
    queue, carried, count: int
) -> None:
    ada = Owner(user_id=User.objects.create_user("ada").pk)
    tasks = [queue(owner=ada) for _ in range(count)]
    for task in tasks:
        race(task)
    for task in tasks:
        row = TaskState.objects.get(pk=task.pk)
        assert row.state in ("succeeded", "cancelled")
        carried.assert_ended(task)
        assert {snapshot.state for snapshot in carried.snapshots_of(task) if snapshot.ended} == {row.state}
        assert StoredNotice.objects.filter(task=row).count() <= 1
    assert_eventually(lambda: {snapshot.ended for task in tasks if (snapshot := carried.newest_of(task))} == {True})


@pytest.fixture
def long_rounds(monkeypatch) -> Iterator[None]:
    """The saver's thread begins no round by itself."""
    monkeypatch.setattr(saver, "CHECK_EVERY_S", 600.0)
    yield
    monkeypatch.undo()
    reporter().saver._is_urgent.set()  # It waits no longer.


def test_a_cancellation_is_heard_without_waiting_for_the_savers_next_round(queue, long_rounds) -> None:
    task = queue()
    with suppress(telltale.Cancelled), run_attempt(task_id=task.pk) as tracker:
        assert_eventually(lambda: reporter()._listened_broker is brokers.broker())
        store.request_cancel(task.pk)
        telltale.messages.announce([Envelope(topics=(CANCELLATIONS,), cancel=str(task.pk))])
        assert_eventually(lambda: tracker.stopping)
