"""`telltale.enqueue`: the row is written first, the runner gets the task after the commit, failures leave no row."""

import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from django.test import RequestFactory

import telltale
from telltale import owners
from telltale.core.states import State
from telltale.dispatch.runner import EnqueueFailed
from telltale.models import TaskState
from telltale.runners.threads import ThreadRunner
from telltale.testing.runners import logged_lines, reload, wait_for_end
from tests.app import celery_tasks, django_tasks, thread_tasks
from tests.runners.workers import ThreadWorker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def paused(thread_worker: ThreadWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tasks stay queued until the test starts the threads."""
    monkeypatch.chdir(tmp_path)
    thread_worker.pause()
    yield
    thread_worker.drain()


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread runner can't take any task."""

    def refuse(*args: object, **kwargs: object) -> str:
        raise ConnectionError("no room")

    monkeypatch.setattr(ThreadRunner, "enqueue", refuse)


def test_the_row_holds_the_task_its_label_and_its_arguments(tmp_path: Path) -> None:
    row = telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 3, pause_s=0.0, label="Count the airports")
    assert (row.state, row.attempt, row.label) == (State.QUEUED, 1, "Count the airports")
    assert (row.runner, row.name) == ("thread", "tests.app.thread_tasks.count")
    assert row.call == {"args": [str(tmp_path / "log"), 3], "kwargs": {"pause_s": 0.0}}
    assert reload(row).runner_id


def test_a_task_has_the_given_owner() -> None:
    ada = User.objects.create_user("ada")
    assert telltale.enqueue(thread_tasks.fail, "log", owner=ada).owner == ada
    assert telltale.enqueue(thread_tasks.fail, "log", owner=None).owner_topic is None


def test_within_a_request_a_task_belongs_to_the_requests_session() -> None:
    request = RequestFactory().get("/")
    request.user, request.session = AnonymousUser(), SessionStore()
    with owners.owned_by(request):
        row = telltale.enqueue(thread_tasks.fail, "log")
    assert row.session == owners.session_digest(request.session.session_key)


def test_a_generator_that_is_finalized_late_changes_no_owner_of_what_runs_then() -> None:
    ada, bob = (User.objects.create_user(name) for name in ("ada", "bob"))

    def rows(owner: object) -> Iterator[int]:
        with owners.owned_by(owner):
            yield 1

    for inner, other in product((ada, None), (bob, None)):
        reading = rows(inner)
        with owners.owned_by(ada):
            next(reading)
        with owners.owned_by(other):
            reading.close()
            assert telltale.enqueue(thread_tasks.fail, "log").owner == other
    reading = rows(ada)
    next(reading)
    reading.close()
    assert telltale.enqueue(thread_tasks.fail, "log").owner is None, "closed where it was left"


def test_a_task_that_is_enqueued_by_a_task_has_the_same_owner(thread_worker: ThreadWorker, tmp_path: Path) -> None:
    ada = User.objects.create_user("ada")
    thread_worker.start()
    wait_for_end(telltale.enqueue(thread_tasks.starts_a_child, str(tmp_path / "log"), owner=ada))
    child = TaskState.objects.get(name="tests.app.thread_tasks.count")
    assert wait_for_end(child).owner == ada


def test_a_call_with_the_key_of_an_open_task_joins_that_task(thread_worker: ThreadWorker, tmp_path: Path) -> None:
    log, file = str(tmp_path / "log"), str(tmp_path / "file")
    first = telltale.enqueue(thread_tasks.wait_with_key, log, file)
    second = telltale.enqueue(thread_tasks.wait_with_key, log, file)
    other = telltale.enqueue(thread_tasks.wait_with_key, log, file, key="another")
    assert first.pk == second.pk != other.pk
    thread_worker.start()
    Path(file).touch()
    wait_for_end(first)
    wait_for_end(other)
    assert logged_lines(tmp_path) == ["wait_for_file", "wait_for_file"]
    assert telltale.enqueue(thread_tasks.wait_with_key, log, file).pk != first.pk


def test_inside_a_transaction_nothing_runs_before_its_commit(thread_worker: ThreadWorker, tmp_path: Path) -> None:
    thread_worker.start()
    with transaction.atomic():
        row = telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0)
        time.sleep(0.3)
        assert (TaskState.objects.get(pk=row.pk).state, logged_lines(tmp_path)) == (State.QUEUED, [])
    assert wait_for_end(row).state == State.SUCCEEDED


def test_f29_a_transaction_that_rolls_back_enqueues_nothing(thread_worker: ThreadWorker, tmp_path: Path) -> None:
    with transaction.atomic():
        telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0)
        transaction.set_rollback(True)
    thread_worker.start()
    assert TaskState.objects.count() == 0
    assert logged_lines(tmp_path) == []


@pytest.mark.usefixtures("broken")
def test_a_failure_to_enqueue_is_an_error_and_leaves_no_row() -> None:
    with pytest.raises(EnqueueFailed, match=r"thread could not take tests\.app\.thread_tasks\.fail.*no room"):
        telltale.enqueue(thread_tasks.fail, "log")
    assert TaskState.objects.count() == 0


@pytest.mark.usefixtures("broken")
def test_a_failure_to_enqueue_at_the_commit_is_an_error_and_leaves_no_row() -> None:
    with pytest.raises(EnqueueFailed), transaction.atomic():
        telltale.enqueue(thread_tasks.fail, "log")
    assert TaskState.objects.count() == 0


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), b"bytes"])
def test_an_argument_that_json_cannot_hold_is_an_error_that_names_the_argument(value: object) -> None:
    with pytest.raises(TypeError, match=r"log of tests\.app\.thread_tasks\.fail.*such as a primary key"):
        telltale.enqueue(thread_tasks.fail, log=value)
    assert TaskState.objects.count() == 0


@pytest.mark.parametrize("task", [celery_tasks.untracked, django_tasks.untracked])
def test_an_untracked_task_is_an_error_that_names_the_decorator(task: object) -> None:
    with pytest.raises(TypeError, match=r"is not tracked.*put @telltale\.tracked beneath"):
        telltale.enqueue(task, "log")
    assert TaskState.objects.count() == 0
