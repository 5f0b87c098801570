"""Reads on PostgreSQL and MariaDB while rows are locked, or nothing can be written: they neither wait nor fail."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, connections, transaction

from telltale import store
from telltale.models import TaskState
from telltale.store import write_on_read
from tests.store.factories import queue

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("tests/pages/test_not_writable.py and test_long_transaction.py are for SQLite.")
    monkeypatch.setattr(write_on_read, "_pause", write_on_read._Pause())


@contextmanager
def locked(task: TaskState) -> Iterator[None]:
    """Another transaction has locked the row, and waits for the block to end."""
    is_locked, may_end, has_ended_itself = threading.Event(), threading.Event(), threading.Event()

    def lock() -> None:
        with transaction.atomic():
            TaskState.objects.select_for_update().get(pk=task.pk)
            is_locked.set()
            if not may_end.wait(60):
                has_ended_itself.set()
        connections.close_all()

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        assert is_locked.wait(60)
        yield
        assert not has_ended_itself.is_set(), "the read has waited for the lock"
    finally:
        may_end.set()
        thread.join()


def expired_task() -> TaskState:
    task = queue()
    store.claim(task_id=task.pk, worker="w", now=store.now() - 1_000)
    return task


def test_a_read_leaves_an_expired_row_that_is_locked_to_a_later_read() -> None:
    locked_task, free_task = expired_task(), expired_task()
    with locked(locked_task):
        states = {
            str(envelope.snapshot.id): envelope.snapshot.state
            for envelope in store.read_tasks([locked_task.pk, free_task.pk])
            if envelope.snapshot is not None
        }
        assert states == {str(locked_task.pk): "running", str(free_task.pk): "lost"}
        store.end_expired()
    found = store.get_task(locked_task.pk)
    assert found is not None
    assert found.state == "lost"


def test_a_read_works_while_the_database_refuses_writes() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("The statement is PostgreSQL's.")
    task = expired_task()
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    try:
        found = store.get_task(task.pk)
        store.end_expired()
    finally:
        connection.close()
    assert found is not None
    assert found.state == "running"
