"""The saver with more than fits into one transaction: nobody is forgotten for the sake of others."""

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
from telltale.worker import reporter as reporting
from telltale.worker import saver as saving
from telltale.worker.attempts import Attempt
from telltale.worker.reporter import reporter
from telltale.worker.saver import Saver
from tests.worker.conftest import QUICK, eventually

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 10_000
LEASE_S = 9.0


def running(tasks: int) -> list[Attempt]:
    """So many rows that this process holds, and their attempts."""
    now = store.now()
    same = {"runner": "test", "name": "work", "label": "Work", "state": "running", "worker": "w", "created_at": now}
    clocks = {"started_at": now, "beat_at": now, "lease_until": now + 60.0}
    rows = TaskState.objects.bulk_create([TaskState(id=uuid4(), **same, **clocks) for _ in range(tasks)], 500)
    return [begun(row.pk, row.snapshot) for row in rows]


def begun(task_id: UUID, snapshot: Snapshot) -> Attempt:
    attempt = Attempt(lambda: None)
    claim = store.Claim(id=task_id, attempt=1, seq=0, topics=(f"task:{task_id}",), snapshot=snapshot)
    attempt.begin(claim, save_every_s=-60.0)
    attempt.look(now=snapshot.beat_at, beat_s=60.0)
    return attempt


def move(attempts: list[Attempt], current: int) -> None:
    for attempt in attempts:
        attempt.tracker.current = current
        attempt.look(now=store.now(), beat_s=60.0)


def currents() -> list[float | None]:
    return [row.snapshot.progress.current for row in TaskState.objects.all()]


@contextmanager
def unfit(task_id: UUID) -> Iterator[None]:
    """Whatever is to be saved of this one, the database refuses, but for signs of life."""
    name = connection.ops.quote_name("telltale_taskstate")
    if connection.vendor == "sqlite":
        make = (
            f"CREATE TRIGGER test_unfit BEFORE UPDATE OF progress ON {name} "
            f"WHEN NEW.id = '{task_id.hex}' BEGIN SELECT RAISE(ABORT, 'unfit'); END"
        )
        drop = "DROP TRIGGER test_unfit"
    else:
        ident = f"'{task_id}'" if connection.features.has_native_uuid_field else f"'{task_id.hex}'"
        make = f"ALTER TABLE {name} ADD CONSTRAINT test_unfit CHECK (id <> {ident} OR moved_at IS NULL)"
        drop = f"ALTER TABLE {name} DROP CONSTRAINT test_unfit"
    with connection.cursor() as cursor:
        cursor.execute(make)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(drop)


def test_one_that_cant_be_saved_keeps_its_lease_and_keeps_no_other_from_being_saved(caplog) -> None:
    attempts = running(7)
    saver = Saver(lambda: attempts)
    bad = attempts[3]
    with unfit(bad.id):
        for current in (1, 2):
            move(attempts, current)
            before = store.get_task(bad.id).lease_until
            for attempt in attempts:
                attempt.saved_at = 0.0
            assert saver._round()
            assert sorted(map(str, currents())) == [str(current)] * 6 + ["None"]
            assert store.get_task(bad.id).lease_until > before
    said = [record for record in caplog.records if str(bad.id) in record.getMessage()]
    assert len(said) == 1, "it is said once"


def test_what_is_left_over_when_a_spell_ends_is_first_in_the_next(monkeypatch) -> None:
    monkeypatch.setattr(store, "SAVED_AT_ONCE", 2)
    monkeypatch.setattr(saving, "SLICE_S", 0.0)
    attempts, saved, save = running(6), [], store.save
    monkeypatch.setattr(store, "save", lambda reports: saved.extend(r.id for r in reports) or save(reports))
    saver = Saver(lambda: attempts)
    for current in (1, 2, 3):
        move(attempts, current)
        saver._save()
    assert sorted(saved) == sorted(attempt.id for attempt in attempts)


def test_leases_are_renewed_while_many_wait_to_be_claimed_and_some_never_can_be(monkeypatch) -> None:
    monkeypatch.setattr(saving, "SLICE_S", 0.05)
    [held] = running(1)

    def ask() -> None:
        asked.append(1)
        time.sleep(0.02)
        raise db.DataError("what it would write is too long")

    asked: list[int] = []
    waiting = [Attempt(ask) for _ in range(40)]
    saver = Saver(lambda: [*waiting, held])
    for current in (1, 2):
        move([held], current)
        held.saved_at = 0.0
        saver._round()
        assert currents() == [current]
    assert 0 < len(asked) < 20
    assert [attempt.refused for attempt in waiting] == [True] * len(asked) + [False] * (40 - len(asked))


def test_an_end_that_cant_be_written_keeps_no_other_from_being_written(caplog) -> None:
    def unwritable() -> None:
        raise db.DataError("too long")

    written: list[int] = []
    saver = Saver(list)
    saver.end_later(unwritable)
    saver.end_later(lambda: written.append(1))
    eventually(lambda: written and not saver._ends)


def test_a_process_that_exits_writes_all_ends_however_many_spells_they_take(monkeypatch) -> None:
    monkeypatch.setattr(saving, "SLICE_S", 0.0)
    written: list[int] = []
    saver = Saver(list)
    for n in range(5):
        saver._ends.append(lambda n=n: written.append(n))
    saver._write_last_ends()
    assert written == [0, 1, 2, 3, 4]


def test_much_that_moves_is_told_in_turns_and_not_all_at_once(monkeypatch, settings) -> None:
    monkeypatch.setattr(reporting, "TOLD_AT_ONCE", 10)
    batches: list[list[str]] = []
    monkeypatch.setattr(reporting, "send_to_broker", lambda told: batches.append([e.snapshot.id for e in told]))
    mine = reporting.Reporter()
    attempts = [begun(uuid4(), Snapshot(id=str(n), attempt=1, seq=0, state=State.RUNNING)) for n in range(25)]
    mine._running = dict(enumerate(attempts))
    for attempt in attempts:
        attempt.tracker.current += 1
    began = time.monotonic()
    mine._look()
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert sorted(int(told) for batch in batches for told in batch) == list(range(25))
    assert time.monotonic() - began >= 2 * QUICK["PUBLISH_EVERY_S"]


@pytest.fixture
def held(settings) -> Iterator[Callable[[int], list[Attempt]]]:
    """Attempts that this process's own reporter sees to, until the test is over."""
    taken: list[Attempt] = []

    def hold(tasks: int) -> list[Attempt]:
        taken.extend(running(tasks))
        TaskState.objects.update(lease_until=store.now() + LEASE_S)
        for attempt in taken:
            reporter().add(attempt)
        return taken

    yield hold
    for attempt in taken:
        reporter().remove(attempt)


@pytest.mark.service
def test_of_10_000_tasks_in_one_process_none_loses_its_lease_and_ends_do_not_wait(held, settings) -> None:
    settings.TELLTALE = {"BROKER": "none://", "SAVE_EVERY_S": 1.0, "BEAT_S": 2.0, "LEASE_S": LEASE_S}
    attempts = held(MANY)
    moving, over, waits_s = attempts[::10], threading.Event(), []
    until = time.monotonic() + LEASE_S + 1.0

    def turn() -> None:
        while not over.wait(0.05):
            for attempt in moving:
                attempt.tracker.current += 1

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        while time.monotonic() < until:
            assert not TaskState.objects.filter(lease_until__lt=store.now()).exists()
            assert store.expire() == []
            last = attempts.pop()
            reporter().remove(last)
            began = time.monotonic()
            assert store.end(last.id, 1, State.SUCCEEDED, is_owned=False) is not None
            waits_s.append(time.monotonic() - began)
            time.sleep(0.2)
    finally:
        over.set()
        thread.join()
    assert sorted(waits_s)[len(waits_s) // 2] < 1.0
    assert not any(attempt.over for attempt in attempts)
    eventually(lambda: min(c or 0 for c in (store.get_task(a.id).snapshot.progress.current for a in moving[:20])) > 50)
