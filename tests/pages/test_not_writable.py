"""A database that can be read but not written: tasks with an expired lease are shown as stalled; all pages work."""

import asyncio
import html
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.backends.signals import connection_created
from django.test import Client

import telltale
from telltale import store
from telltale.core.states import State
from telltale.core.topics import task_topic, user_topic
from telltale.live import tickets
from telltale.live.reader import Reader
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.store import write_on_read
from tests.factories import ended, person, started, task_of

pytestmark = pytest.mark.django_db(transaction=True)

WAIT_MS = 50
"""How long SQLite waits for a lock here."""


@contextmanager
def every_connection(on: str, off: str) -> Iterator[None]:
    """Run `on` on the present connection and on all that are opened meanwhile, and `off` at the end."""

    def run(sql: str, *, on: Any) -> None:
        with on.cursor() as cursor:
            cursor.execute(sql)

    def opened(*, connection: Any, **_more: object) -> None:
        run(on, on=connection)

    connection_created.connect(opened)
    run(on, on=connection)
    try:
        yield
    finally:
        connection_created.disconnect(opened)
        run(off, on=connection)


def read_only() -> AbstractContextManager[None]:
    """SQLite refuses to write: "attempt to write a readonly database"."""
    return every_connection("PRAGMA query_only = ON", "PRAGMA query_only = OFF")


@contextmanager
def locked() -> Iterator[None]:
    """Another connection holds the lock for writing: "database is locked"."""
    path = connection.settings_dict["NAME"]
    with (
        every_connection(f"PRAGMA busy_timeout = {WAIT_MS}", "PRAGMA busy_timeout = 20000"),
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.fixture(autouse=True)
def no_outage(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End an outage that another test began; none of these tests waits for a heartbeat after its outage."""
    settings.TELLTALE = {**settings.TELLTALE, "BEAT_S": 1e-9}
    monkeypatch.setattr(write_on_read, "_pause", write_on_read._Pause())
    write_on_read._outage.end(now=0)
    yield
    write_on_read._outage.end(now=0)


@pytest.fixture(params=[read_only, locked], ids=["read-only", "locked"])
def not_writable(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[None]]:
    made: Callable[[], AbstractContextManager[None]] = request.param
    return made


@pytest.fixture
def ada() -> Any:
    return person("ada", is_staff=True, is_superuser=True)


@pytest.fixture
def signed_in(ada: Any) -> Client:
    client = Client()
    client.force_login(ada)
    return client


def lapsed_task(owner: Any = None) -> TaskState:
    """Return a running task whose lease expired long ago."""
    task = task_of(owner)
    store.claim(task_id=task.pk, worker="w1", now=store.now() - 1_000)
    return task


def state_of(task: TaskState) -> str:
    return TaskState.objects.get(pk=task.pk).state


@pytest.mark.parametrize("url", ["/telltale/tasks/{}/", "/telltale/tasks/"])
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_f27_a_page_shows_a_task_with_an_expired_lease_as_stalled(
    ada: Any, signed_in: Client, not_writable: Callable[[], Any], url: str, accept: str
) -> None:
    task = lapsed_task(ada)
    url = url.format(task.pk)
    with not_writable():
        response = signed_in.get(url, headers={"Accept": accept})
    assert response.status_code == 200
    if accept == "application/json":
        task_json = response.json().get("tasks", [response.json()])[0]
        assert (task_json["state"], task_json["health"]) == ("running", "stalled")
    else:
        assert 'health="stalled"' in response.content.decode()
    signed_in.get(url)
    assert state_of(task) == "lost"


@telltale.tracked
def repeatable() -> None:
    """A task that can be run again."""


@pytest.mark.parametrize("action", ["cancel", "retry"])
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_an_action_that_cannot_be_saved_says_so(
    ada: Any, signed_in: Client, not_writable: Callable[[], Any], action: str, accept: str
) -> None:
    name = f"{__name__}.repeatable"
    task = store.queue(runner="thread", name=name, label="Import", owner=Owner.of(ada)).task
    claim = started(task)
    if action == "retry":
        ended(claim, State.FAILED)
    before = state_of(task)
    with not_writable():
        response = signed_in.post(f"/telltale/tasks/{task.pk}/{action}/", headers={"Accept": accept})
    assert response.status_code == 503
    assert "can't be saved at the moment" in html.unescape(response.content.decode())
    assert state_of(task) == before


def test_polling_works(ada: Any, not_writable: Callable[[], Any]) -> None:
    task = lapsed_task(ada)
    bearer = {"Authorization": f"Bearer {tickets.issue([user_topic(ada.pk)])}"}
    for state, condition in (("running", not_writable), ("lost", nullcontext)):
        with condition():
            response = Client().post("/telltale/live/", "{}", "application/json", headers=bearer)
        assert [(task_json["id"], task_json["state"]) for task_json in response.json()["tasks"]] == [
            (str(task.pk), state)
        ]


def test_the_admins_list_works(signed_in: Client, not_writable: Callable[[], Any]) -> None:
    task = lapsed_task()
    with not_writable():
        response = signed_in.get("/admin/telltale/taskstate/")
    assert response.status_code == 200
    assert "Lost contact with the worker" in response.content.decode()
    assert state_of(task) == "running"
    assert 'state="lost"' in signed_in.get("/admin/telltale/taskstate/").content.decode()


def test_live_connections_get_their_snapshots(not_writable: Callable[[], Any]) -> None:
    topic = task_topic(lapsed_task().pk)
    assert states_read_live(topic, within=not_writable) == [State.RUNNING]
    assert states_read_live(topic, within=nullcontext) == [State.LOST]


def states_read_live(topic: str, *, within: Callable[[], Any]) -> list[State]:
    reader = Reader(lambda _topics: None)
    try:
        with within():
            found = asyncio.run(reader.read([topic]))
    finally:
        reader.close()
    return [envelope.snapshot.state for envelope in found[topic] if envelope.snapshot is not None]


def test_a_group_is_shown_with_its_last_count(not_writable: Callable[[], Any]) -> None:
    members = [store.Member(name="x", label="x", runner_id=str(n), args=(), kwargs={}) for n in range(2)]
    group = store.queue_group([members], group_id=uuid4(), runner="thread", name="x", label="All", owner=Owner())
    member, _other = store.member_ids(group)
    store.claim(task_id=member, worker="w1", now=store.now() - 1_000)
    with not_writable():
        found = store.get_task(group.pk)
        assert found is not None
        assert found.snapshot.progress.current == 0
    fresh = store.get_task(group.pk)
    assert fresh is not None
    assert fresh.snapshot.progress.current == 1


def test_notices_wait_until_the_database_can_be_written(
    ada: Any, signed_in: Client, not_writable: Callable[[], Any]
) -> None:
    task = task_of(ada)
    notice = ended(started(task)).notice
    assert notice is not None
    with not_writable():
        response = signed_in.get(f"/telltale/tasks/{task.pk}/", headers={"Accept": "text/html"})
        assert response.status_code == 200
    assert [taken.id for taken in store.take_notices(task.pk)] == [notice.id]
    assert store.take_notices(task.pk) == []


def test_the_list_of_messages_is_shown_and_they_stay_new_until_the_database_can_be_written(
    ada: Any, signed_in: Client, not_writable: Callable[[], Any]
) -> None:
    telltale.notify(ada, "Hello")
    for _ in range(2):
        with not_writable():
            response = signed_in.get("/telltale/messages/", headers={"Accept": "text/html"})
        assert response.status_code == 200
        assert ">New<" in response.content.decode()


def test_the_callers_transaction_stays_usable() -> None:
    task = lapsed_task()
    with transaction.atomic(), read_only():
        assert [envelope.snapshot.state for envelope in store.read_tasks([task.pk]) if envelope.snapshot] == ["running"]
        assert state_of(task) == "running"
    assert store.read_tasks([task.pk])[0].snapshot.state == "lost"  # type: ignore[union-attr]


def test_the_beginning_and_the_end_of_an_outage_are_logged_once(
    not_writable: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "telltale")
    task, waiting = lapsed_task(), task_of()
    with not_writable():
        for _ in range(3):
            store.get_task(task.pk)
            store.end_expired([waiting.pk])
    store.get_task(task.pk)
    store.get_task(task.pk)
    begun, over = (record.getMessage() for record in caplog.records)
    assert begun.startswith("Writing while reading tasks failed: OperationalError(")
    assert over.startswith("Writing while reading tasks works again")


def test_after_an_outage_a_read_presumes_no_worker_dead_for_a_beat(
    not_writable: Callable[[], Any], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "BEAT_S": 60.0}
    task = lapsed_task()
    with not_writable():
        store.get_task(task.pk)
    for _ in range(2):
        store.get_task(task.pk)
        assert state_of(task) == "running", "its worker may renew its lease now"
    monkeypatch.setattr(write_on_read._pause, "_ends_at", write_on_read._pause._ends_at - 60.0)
    store.get_task(task.pk)
    assert state_of(task) == "lost"


def test_writes_that_are_not_for_a_reader_still_raise(not_writable: Callable[[], Any]) -> None:
    task = lapsed_task()
    with not_writable(), pytest.raises(DatabaseError):
        store.expire([task.pk])
    with not_writable(), pytest.raises(DatabaseError):
        store.request_cancel(task.pk)
