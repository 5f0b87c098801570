"""The reporter and the saver together: what is published while a task runs, and how often the database is written."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from django.db import connection
from django.db.backends.signals import connection_created

import telltale
from telltale import store
from telltale.core.snapshot import Progress, supersedes
from telltale.core.topics import CANCELLATIONS
from telltale.core.wire import Envelope
from telltale.messages import announce
from telltale.models import TaskState
from telltale.worker.run import run_attempt
from telltale.worker.tracker import Tracker
from tests.worker.conftest import QUICK, assert_eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def writes() -> Iterator[Callable[[], int]]:
    """Returns a function that counts the INSERTs and UPDATEs of tasks, in the database itself, from any thread."""
    if connection.vendor != "sqlite":
        pytest.skip("The triggers are written for SQLite.")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS test_writes (nth INTEGER PRIMARY KEY)")
        cursor.execute("DELETE FROM test_writes")
        for event in ("INSERT", "UPDATE"):
            cursor.execute(
                f"CREATE TRIGGER test_{event} AFTER {event} ON telltale_taskstate "
                "BEGIN INSERT INTO test_writes VALUES (NULL); END"
            )
    yield count_writes
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER test_INSERT")
        cursor.execute("DROP TRIGGER test_UPDATE")
        cursor.execute("DROP TABLE test_writes")


def count_writes() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM test_writes")
        return cursor.fetchone()[0]


def progress_of(task: TaskState) -> Progress:
    return TaskState.objects.get(pk=task.pk).snapshot.progress


def test_progress_is_published_while_the_task_runs_and_never_goes_back(queue, carried) -> None:
    task = queue()
    with run_attempt(task_id=task.pk):
        for n in telltale.progress(range(50), message="Importing", unit="rows"):
            if n % 10 == 9:
                carried.assert_current(task, n)
    carried.assert_ended(task)
    fractions = [s.progress.fraction or 0.0 for s in carried.snapshots_of(task)]
    assert len(fractions) > 5
    assert fractions == sorted(fractions)
    assert carried.snapshots_of(task)[-2].progress.message == "Importing"


def test_each_snapshot_supersedes_the_one_before(queue, carried) -> None:
    task = queue()
    with run_attempt(task_id=task.pk):
        for n in telltale.progress(range(20)):
            if n % 5 == 4:
                carried.assert_current(task, n)
    carried.assert_ended(task)
    snapshots = carried.snapshots_of(task)
    assert all(supersedes(later.order, earlier.order) for earlier, later in pairwise(snapshots))


def test_the_running_state_is_published_at_once(queue, carried) -> None:
    task = queue()
    with run_attempt(task_id=task.pk):
        assert_eventually(lambda: carried.snapshots_of(task))
        assert carried.snapshots_of(task)[0].state == "running"


def test_the_last_value_before_a_pause_is_published_and_saved(queue, carried) -> None:
    task = queue()
    with run_attempt(task_id=task.pk) as tracker:
        for n in range(100):
            tracker.current = n
        carried.assert_current(task, 99)
        assert_eventually(lambda: progress_of(task).current == 99)


def test_f42_a_loop_of_28_000_iterations_costs_three_writes_and_a_bounded_rate(queue, writes, settings) -> None:
    settings.TELLTALE = {**QUICK, "SAVE_EVERY_S": 0.5, "BEAT_S": 10.0}
    began, task = time.monotonic(), queue()
    with run_attempt(task_id=task.pk):
        for n in telltale.progress(range(28_000)):
            if n % 14 == 0:
                time.sleep(0.001)
    took_s = time.monotonic() - began
    assert took_s > 2
    assert 3 < writes() <= 3 + took_s / 0.5


def test_the_first_figure_is_saved_after_half_a_period(queue, writes, settings) -> None:
    # Two periods are longer than assert_eventually waits.
    settings.TELLTALE = {**QUICK, "SAVE_EVERY_S": 16.0, "BEAT_S": 600.0}
    task = queue()
    with run_attempt(task_id=task.pk) as tracker:
        tracker.current = 5
        assert_eventually(lambda: progress_of(task).current == 5)
        assert writes() == 3
    assert writes() == 4


@pytest.mark.parametrize("turns", [1, 1_000])
def test_a_short_task_costs_three_writes(queue, writes, settings, turns: int) -> None:
    settings.TELLTALE = {**QUICK, "SAVE_EVERY_S": 100.0}
    with run_attempt(task_id=queue().pk):
        for _ in telltale.progress(range(turns)):
            pass
    assert writes() == 3


def test_many_tasks_are_saved_in_one_transaction(queue, settings, monkeypatch) -> None:
    settings.TELLTALE = {**QUICK, "SAVE_EVERY_S": 0.3}
    batches, save, is_over = [], store.save, threading.Event()
    monkeypatch.setattr(store, "save", lambda reports: batches.append(len(reports)) or save(reports))

    def work(task: TaskState) -> None:
        with run_attempt(task_id=task.pk) as tracker:
            while not is_over.wait(0.05):
                tracker.current += 1
        connection.close()

    tasks = [queue() for _ in range(5)]
    threads = [threading.Thread(target=work, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    try:
        # A busy machine may split them, but not into one each, again and again.
        assert_eventually(lambda: max(batches, default=0) > 1)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_a_silent_task_keeps_its_lease(queue, settings) -> None:
    settings.TELLTALE = {**QUICK, "BEAT_S": 0.2, "STALLED_S": 0.6, "LEASE_S": 1.5}

    def lease_until() -> float:
        return TaskState.objects.get(pk=task.pk).lease_until

    task = queue()
    with run_attempt(task_id=task.pk):
        first_until = lease_until()
        assert_eventually(lambda: lease_until() > first_until + 1.5)
    assert (store.get_task(task.pk).state, store.get_task(task.pk).attempt) == ("succeeded", 1)


def test_a_silent_task_publishes_heartbeats(queue, carried) -> None:
    task = queue()
    with run_attempt(task_id=task.pk):
        assert_eventually(lambda: len(carried.snapshots_of(task)) > 3)
        *_, last = carried.snapshots_of(task)
        assert last.beat_at > last.started_at
        assert last.moved_at is None


RARELY_SAVED = {**QUICK, "SAVE_EVERY_S": 3_600.0, "BEAT_S": 3_600.0}
"""Settings by which no answer to a save tells a task anything."""


def test_a_cancellation_reaches_the_task_by_the_broker_before_the_next_save(queue, settings) -> None:
    settings.TELLTALE = RARELY_SAVED
    task = queue()
    with pytest.raises(telltale.Cancelled), run_attempt(task_id=task.pk):
        store.request_cancel(task.pk)
        for _ in telltale.progress(range(3_000)):
            # Again and again: the reporter may not listen yet.
            announce([Envelope(topics=(CANCELLATIONS,), cancel=str(task.pk))])
            time.sleep(0.01)
    assert store.get_task(task.pk).state == "cancelled"


def test_s47_a_forged_or_repeated_request_to_cancel_stops_no_task(queue, settings) -> None:
    settings.TELLTALE = RARELY_SAVED
    task, other = queue(), queue()
    requests = [Envelope(topics=(CANCELLATIONS,), cancel=str(each.pk)) for each in (task, other)]
    with run_attempt(task_id=task.pk) as tracker, run_attempt(task_id=other.pk) as witness:
        store.request_cancel(other.pk)
        assert_eventually(lambda: announce(requests) or witness.cancel_requested)
        assert not tracker.cancel_requested
    assert store.get_task(task.pk).state == "succeeded"


def test_a_cancellation_reaches_the_task_by_the_database_alone(queue, settings) -> None:
    settings.TELLTALE = {**QUICK, "BROKER": "none://"}
    task = queue()
    with pytest.raises(telltale.Cancelled), run_attempt(task_id=task.pk):
        store.request_cancel(task.pk)
        for _ in telltale.progress(range(3_000)):
            time.sleep(0.01)
    assert store.get_task(task.pk).state == "cancelled"


def test_a_requested_cancellation_is_published(queue, carried) -> None:
    task = queue()
    with run_attempt(task_id=task.pk), telltale.no_cancel("The ledger is being written"):
        store.request_cancel(task.pk)
        assert_eventually(lambda: carried.snapshots_of(task) and carried.snapshots_of(task)[-1].cancel_requested)
        assert carried.snapshots_of(task)[-1].no_cancel == "The ledger is being written"


def test_a_cancellation_waits_for_the_end_of_a_no_cancel_block(queue) -> None:
    task, written = queue(), []
    with pytest.raises(telltale.Cancelled), run_attempt(task_id=task.pk) as tracker:
        with telltale.no_cancel("The ledger is being written"):
            store.request_cancel(task.pk)
            assert_eventually(lambda: tracker.cancel_requested)
            written += telltale.progress(["debit", "credit"])
        telltale.check_cancelled()
    assert written == ["debit", "credit"]


def test_a_superseded_worker_stops_publishing(queue, carried) -> None:
    def publishes_a_change(tracker: Tracker) -> bool:
        before = len(carried.snapshots_of(task))
        tracker.current += 1
        time.sleep(0.2)
        return len(carried.snapshots_of(task)) > before

    task = queue()
    with run_attempt(task_id=task.pk) as tracker:
        assert_eventually(lambda: carried.snapshots_of(task))
        successor = store.claim(task_id=task.pk, worker="another")
        assert_eventually(lambda: not publishes_a_change(tracker))
    assert store.get_task(task.pk).attempt == successor.attempt == 2


def test_values_of_the_wrong_type_do_not_stop_the_publishing(queue, carried, caplog) -> None:
    class Unreadable:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    task = queue()
    with run_attempt(task_id=task.pk) as tracker:
        tracker.message, tracker.total, tracker.current = Unreadable(), "many", float("nan")
        assert_eventually(lambda: str(task.pk) in caplog.text)
        tracker.message, tracker.total, tracker.current = "Going on", 10, 5
        carried.assert_current(task, 5)
        assert carried.newest_of(task).progress.message == "Going on"
    assert store.get_task(task.pk).state == "succeeded"


def test_an_idle_worker_holds_no_connection_for_the_saver(queue) -> None:
    opened = []

    def keep(connection, **_) -> None:
        if threading.current_thread().name == "telltale-saver":
            opened.append(connection)

    connection_created.connect(keep)
    task = queue()
    with run_attempt(task_id=task.pk) as tracker:
        tracker.current = 1
        assert_eventually(lambda: progress_of(task).current == 1)
        assert any(c.connection for c in opened)
    assert_eventually(lambda: not any(c.connection for c in opened))
    connection_created.disconnect(keep)
