"""The saver with more attempts than one transaction holds: each of them is saved in time."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest
from django import db
from django.db import connection

from telltale import store
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.models import TaskState
from telltale.worker import reporter as reporter_module
from telltale.worker import saver as saver_module
from telltale.worker.attempt import Attempt
from telltale.worker.reporter import reporter
from telltale.worker.saver import Saver
from tests.worker.conftest import QUICK, assert_eventually, wait_until_idle

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 10_000
LEASE_S = 120.0


def running(tasks: int) -> list[Attempt]:
    """The attempts of this many running tasks, whose rows exist."""
    now = store.now()
    same = {"runner": "test", "name": "work", "label": "Work", "state": "running", "worker": "w", "created_at": now}
    clocks = {"started_at": now, "beat_at": now, "lease_until": now + 60.0}
    rows = TaskState.objects.bulk_create([TaskState(id=uuid4(), **same, **clocks) for _ in range(tasks)], 500)
    return [begun(row.pk, row.snapshot) for row in rows]


def begun(task_id: UUID, snapshot: Snapshot) -> Attempt:
    attempt = Attempt(task_id=task_id)
    claim = store.Claim(id=task_id, attempt=1, seq=0, topics=(f"task:{task_id}",), snapshot=snapshot)
    attempt.begin(claim, save_every_s=0.0)
    attempt.saved_at = 0.0
    attempt.next_snapshot(now=snapshot.beat_at, beat_s=60.0)
    return attempt


def move(attempts: list[Attempt], current: int) -> None:
    for attempt in attempts:
        attempt.tracker.current = current
        attempt.next_snapshot(now=store.now(), beat_s=60.0)


def progress_of(attempt: Attempt) -> float | None:
    return TaskState.objects.get(pk=attempt.id).snapshot.progress.current


def currents() -> list[float | None]:
    return [row.snapshot.progress.current for row in TaskState.objects.all()]


@contextmanager
def progress_rejected(task_id: UUID) -> Iterator[None]:
    """The database rejects any progress of this task, but accepts heartbeats."""
    name = connection.ops.quote_name("telltale_taskstate")
    if connection.vendor == "sqlite":
        create = (
            f"CREATE TRIGGER test_rejected BEFORE UPDATE OF progress ON {name} "
            f"WHEN NEW.id = '{task_id.hex}' BEGIN SELECT RAISE(ABORT, 'rejected'); END"
        )
        drop = "DROP TRIGGER test_rejected"
    else:
        stored_id = f"'{task_id}'" if connection.features.has_native_uuid_field else f"'{task_id.hex}'"
        create = f"ALTER TABLE {name} ADD CONSTRAINT test_rejected CHECK (id <> {stored_id} OR moved_at IS NULL)"
        drop = f"ALTER TABLE {name} DROP CONSTRAINT test_rejected"
    with connection.cursor() as cursor:
        cursor.execute(create)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(drop)


def test_a_rejected_report_renews_its_lease_and_all_other_reports_are_saved(caplog) -> None:
    attempts = running(7)
    saver = Saver(lambda: attempts)
    bad = attempts[3]
    with progress_rejected(bad.id):
        for current in (1, 2):
            move(attempts, current)
            before = store.get_task(bad.id).lease_until
            for attempt in attempts:
                attempt.saved_at = 0.0
            assert saver._run_once()
            assert sorted(map(str, currents())) == [str(current)] * 6 + ["None"]
            assert store.get_task(bad.id).lease_until > before
    records = [record for record in caplog.records if str(bad.id) in record.getMessage()]
    assert len(records) == 1, "it is logged once"


def test_attempts_left_over_at_the_end_of_a_time_slice_are_first_in_the_next(monkeypatch) -> None:
    monkeypatch.setattr(store, "SAVED_AT_ONCE", 2)
    monkeypatch.setattr(saver_module, "SLICE_S", 0.0)
    attempts, saved, save = running(6), [], store.save
    monkeypatch.setattr(store, "save", lambda reports: saved.extend(r.id for r in reports) or save(reports))
    saver = Saver(lambda: attempts)
    for current in (1, 2, 3):
        move(attempts, current)
        saver._save()
    assert sorted(saved) == sorted(attempt.id for attempt in attempts)


def test_leases_are_renewed_while_many_attempts_wait_for_a_claim_that_is_rejected(monkeypatch) -> None:
    monkeypatch.setattr(saver_module, "SLICE_S", 0.05)
    [held] = running(1)

    def create_row() -> None:
        tries.append(1)
        time.sleep(0.02)
        raise db.DataError("a value is too long")

    tries: list[int] = []
    waiting = [Attempt(task_id=uuid4(), create_row=create_row) for _ in range(40)]
    saver = Saver(lambda: [*waiting, held])
    for current in (1, 2):
        move([held], current)
        held.saved_at = 0.0
        saver._run_once()
        assert currents() == [current]
    assert 0 < len(tries) < 20
    assert [attempt.is_refused for attempt in waiting] == [True] * len(tries) + [False] * (40 - len(tries))


def test_a_rejected_end_does_not_keep_other_ends_from_being_written(caplog) -> None:
    def unwritable() -> None:
        raise db.DataError("too long")

    written: list[int] = []
    saver = Saver(list)
    saver.end_later(unwritable)
    saver.end_later(lambda: written.append(1))
    assert_eventually(lambda: written and not saver._ends)


def test_a_process_that_exits_writes_all_ends_in_as_many_time_slices_as_they_need(monkeypatch) -> None:
    monkeypatch.setattr(saver_module, "SLICE_S", 0.0)
    written: list[int] = []
    saver = Saver(list)
    for n in range(5):
        saver._ends.append(lambda n=n: written.append(n))
    saver.write_last_ends()
    assert written == [0, 1, 2, 3, 4]


def test_many_changes_are_published_in_batches_with_pauses(monkeypatch, settings) -> None:
    monkeypatch.setattr(reporter_module, "PUBLISHED_AT_ONCE", 10)
    ids = {str(number) for number in range(25)}
    batches: list[list[str]] = []

    def record(envelopes) -> None:
        batch = [envelope.snapshot.id for envelope in envelopes]
        if ids.issuperset(batch):  # The process's own reporter may still publish a task of an earlier test.
            batches.append(batch)

    monkeypatch.setattr(reporter_module, "send_to_broker", record)
    own_reporter = reporter_module.Reporter()
    attempts = [begun(uuid4(), Snapshot(id=str(n), attempt=1, seq=0, state=State.RUNNING)) for n in range(25)]
    own_reporter._running = dict(enumerate(attempts))
    for attempt in attempts:
        attempt.tracker.current += 1
    began = time.monotonic()
    own_reporter._publish_changes()
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert sorted(int(task_id) for batch in batches for task_id in batch) == list(range(25))
    assert time.monotonic() - began >= 2 * QUICK["PUBLISH_EVERY_S"]


@pytest.fixture
def held(settings) -> Iterator[Callable[[int], list[Attempt]]]:
    """Returns a function that gives attempts to this process's reporter, until the test ends."""
    attempts: list[Attempt] = []

    def hold(tasks: int) -> list[Attempt]:
        attempts.extend(running(tasks))
        TaskState.objects.update(lease_until=store.now() + LEASE_S)
        for attempt in attempts:
            reporter().add(attempt)
        return attempts

    yield hold
    for attempt in attempts:
        reporter().remove(attempt)
    wait_until_idle()  # Publishing ten thousand changes takes seconds, and would delay the next test's.


@pytest.mark.service
@pytest.mark.timeout(300)
def test_f42_with_10_000_tasks_in_one_process_no_lease_expires_and_an_end_waits_for_few_transactions(
    held, settings, monkeypatch
) -> None:
    settings.TELLTALE = {"BROKER": "none://", "SAVE_EVERY_S": 1.0, "BEAT_S": 2.0, "LEASE_S": LEASE_S}
    attempts, saves, save = held(MANY), [], store.save
    monkeypatch.setattr(store, "save", lambda reports: saves.append(len(reports)) or save(reports))
    moving, is_over, waits = attempts[::10], threading.Event(), []

    def advance() -> None:
        while not is_over.wait(0.05):
            for attempt in moving:
                attempt.tracker.current += 1

    def end_one() -> None:
        last, saves_before = attempts.pop(), len(saves)
        reporter().remove(last)
        assert store.end(last.id, 1, State.SUCCEEDED, is_owned=False) is not None
        waits.append(len(saves) - saves_before)

    def assert_all_leases_are_renewed() -> None:
        renewed_until = store.now() + LEASE_S
        while TaskState.objects.filter(ended_at=None, lease_until__lt=renewed_until).exists():
            assert store.expire() == []
            end_one()
            time.sleep(0.2)

    thread = threading.Thread(target=advance)
    thread.start()
    try:
        assert_all_leases_are_renewed()
        assert_all_leases_are_renewed()
    finally:
        is_over.set()
        thread.join()
    assert sorted(waits)[len(waits) // 2] < MANY / store.SAVED_AT_ONCE / 5, "all tasks are 111 transactions"
    assert not any(attempt.is_over for attempt in attempts)
    for attempt in moving[:20]:
        assert_eventually(lambda attempt=attempt: progress_of(attempt) == attempt.tracker.current)
