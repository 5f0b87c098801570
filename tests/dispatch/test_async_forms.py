"""The async forms of the public functions: in a coroutine, each does what its synchronous form does."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest
from django.test import RequestFactory

import telltale
from telltale.core.states import State
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner, owned_by
from telltale.testing.runners import reload, wait_for_end
from tests.app import thread_tasks
from tests.runners.workers import ThreadWorker

pytestmark = pytest.mark.django_db(transaction=True)

ASYNC_FORMS = [name for name in telltale.__all__ if inspect.iscoroutinefunction(getattr(telltale, name))]


@pytest.fixture(autouse=True)
def paused(thread_worker: ThreadWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tasks stay queued until the test starts the threads."""
    monkeypatch.chdir(tmp_path)
    thread_worker.pause()
    yield
    thread_worker.drain()


def request_of(user: User | AnonymousUser) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user, request.session = user, SessionStore()
    return request


@pytest.mark.parametrize("name", ASYNC_FORMS)
def test_each_takes_what_its_synchronous_form_takes(name: str) -> None:
    async_form, form = getattr(telltale, name), getattr(telltale, name.removeprefix("a"))
    assert str(inspect.signature(async_form)) == str(inspect.signature(form))


def test_a_coroutine_queues_cancels_and_retries_a_task(thread_worker: ThreadWorker) -> None:
    ada = User.objects.create_user("ada")

    async def view() -> TaskState:
        with pytest.raises(SynchronousOnlyOperation):
            telltale.enqueue(thread_tasks.count, "log", 1, 0.0)
        with owned_by(ada):
            row = await telltale.aenqueue(thread_tasks.count, "log", 1, pause_s=0.0, key="one")
            again = await telltale.aenqueue(thread_tasks.count, "log", 1, 0.0, key="one")
        assert (again.pk, row.owner_id) == (row.pk, ada.pk)
        assert await telltale.acancel(row)
        assert not await telltale.acancel(row)
        await row.arefresh_from_db()
        return await telltale.aretry(row)

    row = async_to_sync(view)()
    assert (row.state, row.attempt) == (State.QUEUED, 2)
    thread_worker.start()
    assert wait_for_end(row).state == State.SUCCEEDED


def test_a_coroutine_queues_many_tasks() -> None:
    rows = async_to_sync(telltale.aenqueue_many)(thread_tasks.count, [("log", 1, 0.0), ("log", 2, 0.0)], owner=None)
    assert [reload(row).call["args"][1] for row in rows] == [1, 2]


def test_a_coroutine_notifies_a_person_and_publishes_an_event() -> None:
    ada = User.objects.create_user("ada")

    async def work() -> None:
        await telltale.anotify(ada, "Hello", level="success")
        await telltale.apublish("project:7", "changed", {"rows": 3})

    async_to_sync(work)()
    assert StoredNotice.objects.get().topic == Owner.of(ada).topic


def test_an_async_view_answers_that_a_task_was_started_and_gives_a_ticket() -> None:
    ada = User.objects.create_user("ada")
    request = request_of(ada)
    request.META["HTTP_ACCEPT"] = "application/json"

    async def view() -> tuple[int, frozenset[str]]:
        row = await telltale.aenqueue(thread_tasks.count, "log", 1, 0.0, owner=request)
        response = await telltale.aaccepted(request, row)
        ticket = await telltale.aticket_for(request, [f"user:{ada.pk}"])
        return response.status_code, ticket.topics

    assert async_to_sync(view)() == (202, frozenset({f"user:{ada.pk}"}))
