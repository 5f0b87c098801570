"""With the database locked or the broker down, the task's result is the same, and what people see catches up."""

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, connections

import telltale
from telltale import store
from telltale.brokers.base import BrokerUnavailable, Reach
from telltale.models import TaskState
from telltale.worker.run import run_attempt
from tests.worker.conftest import QUICK, assert_eventually, wait_until_idle

pytestmark = pytest.mark.django_db(transaction=True)


class Broken:
    """A broker whose service is down."""

    reach = Reach.SITE

    def publish(self, messages) -> None:
        raise BrokerUnavailable("connection refused")

    def listen(self, deliver, missed):
        raise BrokerUnavailable("connection refused")

    def close(self) -> None:
        pass


@pytest.fixture
def short_timeout() -> Iterator[None]:
    """A locked database raises an error after 0.2 s instead of 20 s."""
    if connection.vendor != "sqlite":
        pytest.skip("Only SQLite has one lock for all writers.")
    wait_until_idle()  # The saver's next connection has the short timeout.
    options = connections.settings["default"]["OPTIONS"]
    before, options["timeout"] = options["timeout"], 0.2
    connection.close()
    yield
    options["timeout"] = before
    connection.close()


@contextmanager
def locked() -> Iterator[None]:
    """Another connection holds the database's write lock."""
    if connection.vendor != "sqlite":
        pytest.skip("Only SQLite has one lock for all writers.")
    other = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None, check_same_thread=False)
    deadline = time.monotonic() + 10
    while True:
        try:
            other.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def log_count(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.message for record in caplog.records)


def unlock_after(lock, seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, lock.__exit__, (None, None, None))
    timer.start()
    return timer


def test_f26_a_database_that_is_locked_for_a_while_does_not_stop_the_task(queue, short_timeout, caplog) -> None:
    task, done = queue(), []
    with run_attempt(task_id=task.pk):
        for n in telltale.progress(range(60)):
            if n == 10:
                lock = locked()
                lock.__enter__()
            if n == 50:
                assert_eventually(lambda: log_count(caplog, "Writing to the database failed") == 1)
                lock.__exit__(None, None, None)
            done.append(n)
            time.sleep(0.02)
        assert_eventually(lambda: log_count(caplog, "Writing to the database works again") == 1)
    assert len(done) == 60
    assert store.get_task(task.pk).state == "succeeded"
    assert log_count(caplog, "Writing to the database") == 2, "an outage is logged when it begins and when it ends"


def test_f26_an_end_waits_for_a_locked_database(queue, short_timeout) -> None:
    task, lock = queue(), locked()
    with run_attempt(task_id=task.pk):
        lock.__enter__()
        timer = unlock_after(lock, 0.7)
    timer.join()
    assert store.get_task(task.pk).state == "succeeded"


def test_an_end_that_cannot_be_written_in_time_is_written_later(queue, short_timeout, settings) -> None:
    settings.TELLTALE = {**QUICK, "END_RETRY_S": 0.2}
    task = queue()
    with locked():
        with pytest.raises(telltale.TaskError, match="Row 7"), run_attempt(task_id=task.pk) as tracker:
            tracker.current = 3
            raise telltale.TaskError("Row 7 has no name.")
        assert TaskState.objects.get(pk=task.pk).state in ("queued", "running")
    assert_eventually(lambda: TaskState.objects.get(pk=task.pk).state == "failed")
    assert TaskState.objects.get(pk=task.pk).error == "Row 7 has no name."


def test_a_task_that_begins_while_the_database_is_locked_is_shown_after_the_lock(queue, short_timeout, carried) -> None:
    task, lock = queue(), locked()
    lock.__enter__()
    with run_attempt(task_id=task.pk) as tracker:
        tracker.current, tracker.total = 1, 2
        time.sleep(0.2)
        assert carried.snapshots_of(task) == []
        lock.__exit__(None, None, None)
        carried.assert_current(task, 1)
        assert carried.newest_of(task).progress.fraction == 0.5
    assert (store.get_task(task.pk).state, store.get_task(task.pk).attempt) == ("succeeded", 1)


def test_a_run_that_begins_and_ends_while_the_database_is_locked_is_saved_afterwards(
    queue, short_timeout, settings
) -> None:
    settings.TELLTALE = {**QUICK, "END_RETRY_S": 0.1}
    task = queue()
    with locked(), run_attempt(task_id=task.pk):
        pass
    assert_eventually(lambda: store.get_task(task.pk).state == "succeeded")
    assert store.get_task(task.pk).attempt == 1


def test_tracked_work_that_begins_and_ends_while_the_database_is_locked_is_saved_afterwards(
    short_timeout, settings
) -> None:
    settings.TELLTALE = {**QUICK, "END_RETRY_S": 0.1}
    with locked(), telltale.track("Rebuild index"):
        pass
    assert_eventually(lambda: [row.state for row in TaskState.objects.all()] == ["succeeded"])


def test_f13_a_broker_that_is_down_changes_nothing_but_the_log(queue, settings, caplog) -> None:
    settings.TELLTALE = {**QUICK, "BROKER": f"{__name__}.Broken"}
    task = queue()
    with caplog.at_level(logging.WARNING), run_attempt(task_id=task.pk):
        for _ in telltale.progress(range(50)):
            time.sleep(0.01)
        # Both are logged by the reporter's thread.
        for operation in ("Publishing", "Listening"):
            assert_eventually(lambda operation=operation: log_count(caplog, f"{operation} to the broker") > 0)
    assert store.get_task(task.pk).state == "succeeded"
    counts = [log_count(caplog, f"{operation} to the broker") for operation in ("Publishing", "Listening")]
    assert counts == [1, 1]


def test_a_missing_table_does_not_stop_a_task(queue, settings) -> None:
    settings.TELLTALE = {**QUICK, "END_RETRY_S": 0.1}
    task = queue()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE telltale_taskstate RENAME TO elsewhere")
    try:
        with run_attempt(task_id=task.pk) as tracker:
            tracker.result = "/done/"
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO telltale_taskstate")
    assert_eventually(lambda: store.get_task(task.pk).state == "succeeded")
