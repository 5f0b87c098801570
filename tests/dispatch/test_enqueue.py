"""`telltale.enqueue`, cancel and retry: the row first, the runner after the commit, and nothing left behind."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from django.test import RequestFactory

import telltale
from telltale import owners
from telltale.core.states import State
from telltale.dispatch.control import CannotRetry, cancel, retry, why_no_retry
from telltale.dispatch.registry import by_name
from telltale.dispatch.runner import EnqueueFailed
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.runners.threads import ThreadRunner
from tests.app import celery_tasks, django_tasks, thread_tasks
from tests.runners.benches import ThreadBench
from tests.runners.watching import ended, fresh, lines

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def paused(threads: ThreadBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    threads.pause()
    yield
    threads.drain()


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner that can't take anything just now."""

    def refuse(*args: object, **kwargs: object) -> str:
        raise ConnectionError("no room")

    monkeypatch.setattr(ThreadRunner, "enqueue", refuse)


def test_the_row_says_what_was_asked_for(tmp_path: Path) -> None:
    row = telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 3, pause_s=0.0, label="Count the airports")
    assert (row.state, row.attempt, row.label) == (State.QUEUED, 1, "Count the airports")
    assert (row.runner, row.name) == ("thread", "tests.app.thread_tasks.count")
    assert row.call == {"args": [str(tmp_path / "log"), 3], "kwargs": {"pause_s": 0.0}}
    assert fresh(row).runner_id


def test_a_task_belongs_to_whom_it_is_given() -> None:
    ada = User.objects.create_user("ada")
    assert telltale.enqueue(thread_tasks.fail, "log", owner=ada).owner == ada
    assert telltale.enqueue(thread_tasks.fail, "log", owner=None).owner_topic is None


def test_within_a_request_a_task_belongs_to_its_asker() -> None:
    request = RequestFactory().get("/")
    request.user, request.session = AnonymousUser(), SessionStore()
    with owners.owned_by(request):
        row = telltale.enqueue(thread_tasks.fail, "log")
    assert row.session == owners.session_digest(request.session.session_key)


def test_what_a_task_starts_belongs_to_whoever_asked_for_the_task(threads: ThreadBench, tmp_path: Path) -> None:
    ada = User.objects.create_user("ada")
    threads.start()
    ended(telltale.enqueue(thread_tasks.starts_a_child, str(tmp_path / "log"), owner=ada))
    child = TaskState.objects.get(name="tests.app.thread_tasks.count")
    assert ended(child).owner == ada


def test_a_key_joins_the_open_task_and_starts_no_second(threads: ThreadBench, tmp_path: Path) -> None:
    log, gate = str(tmp_path / "log"), str(tmp_path / "gate")
    first = telltale.enqueue(thread_tasks.hold_alone, log, gate)
    second = telltale.enqueue(thread_tasks.hold_alone, log, gate)
    other = telltale.enqueue(thread_tasks.hold_alone, log, gate, key="another")
    assert first.pk == second.pk != other.pk
    threads.start()
    Path(gate).touch()
    ended(first)
    ended(other)
    assert lines(tmp_path) == ["hold", "hold"]
    assert telltale.enqueue(thread_tasks.hold_alone, log, gate).pk != first.pk


def test_inside_a_transaction_nothing_runs_before_its_commit(threads: ThreadBench, tmp_path: Path) -> None:
    threads.start()
    with transaction.atomic():
        row = telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0)
        time.sleep(0.3)
        assert (TaskState.objects.get(pk=row.pk).state, lines(tmp_path)) == (State.QUEUED, [])
    assert ended(row).state == State.SUCCEEDED


def test_a_transaction_that_rolls_back_takes_the_task_along(threads: ThreadBench, tmp_path: Path) -> None:
    with transaction.atomic():
        telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0)
        transaction.set_rollback(True)
    threads.start()
    assert TaskState.objects.count() == 0
    assert lines(tmp_path) == []


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
def test_an_argument_that_json_cant_hold_is_named_with_the_mend(value: object) -> None:
    with pytest.raises(TypeError, match=r"log of tests\.app\.thread_tasks\.fail.*such as a primary key"):
        telltale.enqueue(thread_tasks.fail, log=value)
    assert TaskState.objects.count() == 0


@pytest.mark.parametrize("task", [celery_tasks.untracked, django_tasks.untracked])
def test_an_untracked_task_is_refused_with_the_mend(task: object) -> None:
    with pytest.raises(TypeError, match=r"is not tracked.*put @telltale\.tracked beneath"):
        telltale.enqueue(task, "log")
    assert TaskState.objects.count() == 0


def test_what_is_queued_can_be_cancelled_once() -> None:
    row = telltale.enqueue(thread_tasks.fail, "log")
    assert cancel(row)
    assert fresh(row).state == State.CANCELLED
    assert not cancel(row)


def test_only_what_has_ended_badly_can_be_run_again() -> None:
    row = telltale.enqueue(thread_tasks.fail, "log")
    assert why_no_retry(row)
    with pytest.raises(CannotRetry, match="has not failed"):
        retry(row)


def test_two_people_who_due_at_once_start_one_attempt() -> None:
    row = telltale.enqueue(thread_tasks.fail, "log")
    cancel(row)
    mine, theirs = fresh(row), fresh(row)
    assert retry(mine).attempt == 2
    with pytest.raises(CannotRetry, match="again already"):
        retry(theirs)
    assert fresh(row).attempt == 2


def test_what_no_runner_here_knows_cant_be_run_again() -> None:
    with pytest.raises(telltale.TaskError), telltale.track("By hand"):
        raise telltale.TaskError("Nothing works.")
    with pytest.raises(CannotRetry, match="from where it was started"):
        retry(TaskState.objects.get())


def test_a_retry_that_cant_be_enqueued_has_failed_and_says_so(
    threads: ThreadBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    threads.start()
    row = ended(telltale.enqueue(thread_tasks.fail, str(tmp_path / "log")))

    def refuse(*args: object, **kwargs: object) -> str:
        raise ConnectionError("no room")

    monkeypatch.setattr(by_name("thread"), "enqueue", refuse)
    with pytest.raises(EnqueueFailed):
        retry(row)
    assert (fresh(row).state, fresh(row).attempt, fresh(row).error) == (State.FAILED, 2, "It could not be started.")


def test_a_second_attempt_belongs_to_the_same_owner(threads: ThreadBench, tmp_path: Path) -> None:
    ada = User.objects.create_user("ada")
    threads.start()
    row = ended(telltale.enqueue(thread_tasks.fail, str(tmp_path / "log"), owner=Owner(user_id=ada.pk)))
    retry(row)
    assert ended(row).owner == ada
