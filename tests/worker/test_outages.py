"""With the database locked or the broker down, the task's result is the same, and what people see catches up."""

import logging
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

import pytest
from django.db import OperationalError, connection, connections

import telltale
from telltale import brokers, store
from telltale.brokers.base import BrokerUnavailable, Reach
from telltale.core.states import State
from telltale.models import TaskState
from telltale.worker.attempt import Attempt
from telltale.worker.reporter import reporter
from telltale.worker.run import Verdict, run_attempt
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


class Careless(Broken):
    """A broker of the site's own that raises other errors than the contract says."""

    def publish(self, messages) -> None:
        raise ConnectionError("connection refused")

    def listen(self, deliver, missed):
        raise ConnectionError("connection refused")


@pytest.mark.parametrize("url", [f"{__name__}.Careless", "nowhere://"])
def test_progress_is_saved_whatever_the_broker_raises(queue, settings, url: str) -> None:
    settings.TELLTALE = {**QUICK, "BROKER": url}
    task = queue()
    with run_attempt(task_id=task.pk) as tracker:
        tracker.current = 3
        assert_eventually(lambda: TaskState.objects.get(pk=task.pk).progress.get("current") == 3)
    settings.TELLTALE = QUICK
    with run_attempt(task_id=queue().pk):  # The outage is over, for the next test too.
        assert_eventually(lambda: reporter()._listened_broker is brokers.broker())


def test_a_cancellation_that_a_late_claim_carries_out_is_published(queue, short_timeout, carried) -> None:
    task = queue()
    store.claim(task_id=task.pk, worker="killed")
    store.request_cancel(task.pk)
    lock = locked()
    lock.__enter__()
    with pytest.raises(telltale.Cancelled), run_attempt(task_id=task.pk) as tracker:
        lock.__exit__(None, None, None)
        assert_eventually(lambda: tracker.stopping)
        telltale.check_cancelled()
    carried.assert_ended(task)


def rename_table(old: str, new: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")


def test_a_run_whose_late_claim_finds_another_delivery_stops_if_it_may_run_once_only(queue) -> None:
    task = queue()
    store.claim(task_id=task.pk, worker="another")
    rename_table("telltale_taskstate", "elsewhere")
    try:
        run = run_attempt(task_id=task.pk, at_most_once=True)
        tracker = run.__enter__()
    finally:
        rename_table("elsewhere", "telltale_taskstate")
    assert_eventually(lambda: tracker.stopping)
    try:
        telltale.check_cancelled()
    except telltale.Cancelled as error:
        with pytest.raises(telltale.Cancelled):
            run.__exit__(type(error), error, error.__traceback__)
    assert reporter().running_count == 0
    assert store.get_task(task.pk).state == "running"


def retrying(_error: BaseException) -> Verdict:
    return Verdict(state=State.RETRYING)


@pytest.mark.parametrize("error", [None, telltale.TaskError("Row 7 has no name.")])
def test_a_retry_that_was_not_written_in_time_takes_nothing_from_the_run_that_followed(
    queue, short_timeout, settings, error: Exception | None
) -> None:
    settings.TELLTALE = {**QUICK, "END_RETRY_S": 0.1}
    task, waiting = queue(), reporter().saver
    with locked(), pytest.raises(ConnectionError), run_attempt(task_id=task.pk, verdict=retrying):
        raise ConnectionError("the database is locked")
    with suppress(telltale.TaskError), run_attempt(task_id=task.pk):
        assert TaskState.objects.get(pk=task.pk).state in ("running", "retrying")
        assert_eventually(lambda: not waiting.waiting_ends)
        if error is not None:
            raise error
    assert TaskState.objects.get(pk=task.pk).state == ("succeeded" if error is None else "failed")


def test_a_run_that_could_not_ask_before_takes_nothing_from_a_newer_one(queue, short_timeout) -> None:
    task = queue()
    early = Attempt(task_id=task.pk)
    with locked(), pytest.raises(OperationalError):
        early.try_claim()
    with pytest.raises(telltale.TaskError), run_attempt(task_id=task.pk):
        raise telltale.TaskError("Row 7 has no name.")
    refusal = early.try_claim()
    row = TaskState.objects.get(pk=task.pk)
    assert (refusal and refusal.state, row.state, row.attempt) == ("failed", "failed", 1)


def test_a_run_that_could_not_ask_before_follows_an_older_one(queue, short_timeout) -> None:
    task = queue()
    with pytest.raises(ConnectionError), run_attempt(task_id=task.pk, verdict=retrying):
        raise ConnectionError
    late = Attempt(task_id=task.pk)
    with locked(), pytest.raises(OperationalError):
        late.try_claim()
    assert late.try_claim() is None
    assert late.claim is not None
    assert late.claim.attempt == 2


class TimeLimit(Exception):
    """As a runner raises it by a signal."""


@pytest.mark.parametrize("interruption", [SystemExit, TimeLimit])
def test_an_interruption_while_the_end_waits_for_the_database_does_not_lose_the_end(
    queue, short_timeout, settings, caplog, interruption: type[BaseException]
) -> None:
    def interrupt(*_signal: object) -> None:
        raise interruption

    def interrupt_soon() -> None:
        assert_eventually(lambda: log_count(caplog, "Writing to the database failed"))
        signal.pthread_kill(main.ident, signal.SIGUSR1)

    settings.TELLTALE = {**QUICK, "END_RETRY_S": 600.0}
    task, lock, main = queue(), locked(), threading.main_thread()
    before = signal.signal(signal.SIGUSR1, interrupt)
    timer = threading.Thread(target=interrupt_soon)
    try:
        expected = nullcontext() if issubclass(interruption, Exception) else pytest.raises(interruption)
        with expected, run_attempt(task_id=task.pk):
            lock.__enter__()
            timer.start()
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
        lock.__exit__(None, None, None)
    assert_eventually(lambda: TaskState.objects.get(pk=task.pk).state == "succeeded")
