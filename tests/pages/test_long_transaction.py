"""A task in one long transaction on SQLite: its worker can't save, and every page shows how far it is all the same."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.handlers.base import BaseHandler
from django.db import connection
from django.test import Client
from django.urls import resolve, reverse

from telltale import conf, store
from telltale.brokers import broker
from telltale.brokers.base import Message
from telltale.core.health import health
from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import Health
from telltale.core.topics import user_topic
from telltale.core.wire import Envelope
from telltale.live import heard, tickets
from telltale.models import TaskState
from telltale.store import write_on_read
from telltale.worker.run import run_attempt
from tests.factories import person, started, task_of
from tests.servers import ROOT
from tests.worker.conftest import assert_eventually

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'sqlite'", reason="Only SQLite has one lock for all writers."),
]


@pytest.fixture(autouse=True)
def quick(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TELLTALE = {"BROKER": "memory://", "PUBLISH_EVERY_S": 0.01, "BEAT_S": 0.5}
    monkeypatch.setattr(write_on_read, "_pause", write_on_read._Pause())


@pytest.fixture
def ada() -> Any:
    return person("ada")


@contextmanager
def long_transaction() -> Iterator[None]:
    """Hold the write lock, as the transaction of an import does, in a connection of another process."""
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def running(owner: Any) -> Iterator[tuple[TaskState, Any]]:
    """Run a task in this process, as a thread runner does; give its row and its tracker."""
    task = task_of(owner)
    with run_attempt(task_id=task.pk) as tracker:
        yield task, tracker


def let_the_lease_expire(task: TaskState) -> None:
    """Write the row as it is once nothing has been saved for longer than the lease."""
    expired_at = store.now() - 60.0
    TaskState.objects.filter(pk=task.pk).update(beat_at=expired_at - 105.0, lease_until=expired_at)


def polled(owner: Any) -> dict[str, Any]:
    """What a page under WSGI gets of its owner's only task."""
    bearer = {"Authorization": f"Bearer {tickets.issue([user_topic(owner.pk)])}"}
    response = Client().post("/telltale/live/", "{}", "application/json", headers=bearer)
    assert response.status_code == 200
    [task_json] = response.json()["tasks"]
    return dict(task_json)


def health_of(task_json: dict[str, Any]) -> Health | None:
    """What a page works out."""
    return health(Snapshot.from_json(task_json), now=store.now(), limits=conf.settings().limits)


def test_pages_of_the_process_that_runs_a_task_show_its_figures_although_nothing_can_be_saved(ada: Any) -> None:
    client = Client()
    client.force_login(ada)
    with running(ada) as (task, tracker), ExitStack() as at_the_end:
        let_the_lease_expire(task)
        at_the_end.enter_context(long_transaction())
        tracker.current, tracker.total = 37, 100
        assert_eventually(lambda: polled(ada)["progress"]["current"] == 37)
        for url in (reverse("telltale:task", args=[task.pk]), reverse("telltale:tasks")):
            response = client.get(url, headers={"Accept": "application/json"})
            [task_json] = response.json().get("tasks", [response.json()])
            assert (task_json["state"], task_json["health"]) == ("running", "ok")
            assert task_json["progress"]["current"] == 37
    assert TaskState.objects.get(pk=task.pk).state == "succeeded"


def test_a_worker_of_this_process_is_not_presumed_lost_once_the_lock_is_free(ada: Any, settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "SAVE_EVERY_S": 3_600.0}
    with running(ada) as (task, tracker):
        tracker.current = 1
        assert_eventually(lambda: polled(ada)["progress"]["current"] == 1)
        let_the_lease_expire(task)
        store.end_expired()
        assert TaskState.objects.get(pk=task.pk).state == "running"
        assert health_of(polled(ada)) is Health.OK


def published(task: TaskState, *, beat_at: float, current: float, attempt: int = 1, seq: int = 50) -> None:
    """What the reporter of another process publishes of the task."""
    row = TaskState.objects.get(pk=task.pk)
    report = replace(
        row.snapshot, attempt=attempt, seq=seq, progress=Progress(current=current), beat_at=beat_at, moved_at=beat_at
    )
    broker().publish([Message(row.topics, Envelope(topics=row.topics, snapshot=report).to_bytes())])


def test_pages_show_what_another_process_publishes_while_it_cannot_save(
    ada: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(ada)
    started(task)
    let_the_lease_expire(task)
    with long_transaction():
        assert health_of(polled(ada)) is Health.STALLED

        def is_heard() -> bool:
            published(task, beat_at=store.now(), current=37)
            return bool(polled(ada)["progress"]["current"] == 37)

        assert_eventually(is_heard)
        assert health_of(polled(ada)) is Health.OK
    monkeypatch.setattr(write_on_read, "_pause", write_on_read._Pause())
    store.end_expired()
    assert TaskState.objects.get(pk=task.pk).state == "running", "its worker lives, and saves in a moment"


def test_what_is_heard_of_another_attempt_or_long_ago_keeps_no_task_alive(ada: Any) -> None:
    task = task_of(ada)
    started(task)
    let_the_lease_expire(task)

    def is_heard() -> bool:
        published(task, beat_at=store.now() - 150.0, current=37)
        return bool(polled(ada)["progress"]["current"] == 37)

    with long_transaction():
        assert_eventually(is_heard)
        published(task, beat_at=store.now(), current=38, attempt=2)
    assert_eventually(lambda: polled(ada)["state"] == "lost")


@pytest.mark.parametrize("lie", [{"attempt": 10**9}, {"seq": 10**9}])
def test_what_the_database_denies_does_not_hide_what_the_worker_publishes(ada: Any, lie: dict[str, int]) -> None:
    task = task_of(ada)
    started(task)
    let_the_lease_expire(task)

    def shows_the_worker() -> bool:
        published(task, beat_at=store.now(), current=99, **lie)
        published(task, beat_at=store.now(), current=37)
        figure = polled(ada)["progress"]["current"]
        assert figure in (None, 37)
        return bool(figure == 37)

    with long_transaction():
        assert_eventually(shows_the_worker)


def test_a_task_that_no_process_runs_is_lost_all_the_same(ada: Any) -> None:
    task = task_of(ada)
    started(task)
    let_the_lease_expire(task)
    assert polled(ada)["state"] == "lost"


@pytest.mark.parametrize("timeout_s", [20, 0])
def test_a_read_asks_for_a_locked_database_with_a_short_wait_and_restores_the_long_one(timeout_s: int) -> None:
    task = task_of()
    started(task)
    let_the_lease_expire(task)
    waits: list[int] = []

    def note_wait(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("UPDATE", "BEGIN")):
            waits.append(_lock_wait_ms())
        return execute(sql, params, many, context)

    connection.ensure_connection()
    before = _lock_wait_ms()
    connection.connection.execute(f"PRAGMA busy_timeout = {timeout_s * 1_000}")
    try:
        with long_transaction(), connection.execute_wrapper(note_wait):
            found = store.get_task(task.pk)
        assert found is not None
        assert found.state == "running"
        assert waits
        assert set(waits) == {min(timeout_s * 1_000, write_on_read.LOCK_WAIT_MS)}
        assert _lock_wait_ms() == timeout_s * 1_000
    finally:
        connection.connection.execute(f"PRAGMA busy_timeout = {before}")


def _lock_wait_ms() -> int:
    return int(connection.connection.execute("PRAGMA busy_timeout").fetchone()[0])


@pytest.mark.parametrize("url", ["/telltale/tasks/", "/telltale/live/", "/telltale/ticket/"])
def test_no_view_of_ours_takes_the_write_lock_because_of_atomic_requests(url: str) -> None:
    view = resolve(url).func
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        assert BaseHandler().make_view_atomic(view) is view
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False


def listening_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "telltale-heard"]


def test_a_process_stops_listening_when_no_page_asks_for_a_late_task_any_more(ada: Any) -> None:
    assert_eventually(lambda: listening_threads() == [])
    task = task_of(ada)
    started(task)
    TaskState.objects.filter(pk=task.pk).update(beat_at=store.now() - 60.0)
    polled(ada)
    [thread] = listening_threads()
    assert_eventually(lambda: broker()._listeners)  # type: ignore[attr-defined]
    heard.forget()
    thread.join(30)
    assert not thread.is_alive()
    assert broker()._listeners == ()  # type: ignore[attr-defined]


WORKER = """
import sys
import django
django.setup()
from django.contrib.auth.models import Group
from django.db import transaction
from telltale.worker.run import run_attempt

with run_attempt(task_id=sys.argv[1]) as tracker:
    tracker.current = 1
    with transaction.atomic():
        Group.objects.create(name="In the transaction")
        tracker.current = 37
        sys.stdin.readline()
"""


@pytest.mark.service
def test_f30_a_page_under_wsgi_shows_what_a_worker_process_does_in_its_transaction(ada: Any, settings: Any) -> None:
    settings.TELLTALE = {"BROKER": "local://", "BEAT_S": 0.5}
    task = task_of(ada)
    database = str(connection.settings_dict["NAME"])
    env = {**os.environ, "TELLTALE_TEST_DB": database, "TELLTALE_BROKER": "local://", "TELLTALE_BEAT_S": "0.5"}
    command = [sys.executable, "-W", "ignore", "-c", WORKER, str(task.pk)]
    worker = subprocess.Popen(command, env=env, cwd=ROOT, stdin=subprocess.PIPE)
    try:
        assert_eventually(lambda: polled(ada)["progress"]["current"] == 37)
        assert TaskState.objects.get(pk=task.pk).progress.get("current") != 37, "it can't be saved"
        assert (polled(ada)["state"], health_of(polled(ada))) == ("running", Health.OK)
    finally:
        worker.communicate(b"\n", timeout=60)
    assert polled(ada)["state"] == "succeeded"
    assert Group.objects.count() == 1
