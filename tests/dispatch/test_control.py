"""Cancel and retry: what can be cancelled or retried, by which runner, and whose the next attempt is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User

import telltale
from telltale.core.states import State
from telltale.dispatch.control import CannotRetry, cancel, retry, why_no_retry
from telltale.dispatch.registry import by_name
from telltale.dispatch.runner import EnqueueFailed
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.testing.runners import reload, wait_for_end
from tests.app import thread_tasks
from tests.runners.workers import ThreadWorker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def paused(thread_worker: ThreadWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tasks stay queued until the test starts the threads."""
    monkeypatch.chdir(tmp_path)
    thread_worker.pause()
    yield
    thread_worker.drain()


def test_a_queued_task_can_be_cancelled_once() -> None:
    row = telltale.enqueue(thread_tasks.fail, "log")
    assert cancel(row)
    assert reload(row).state == State.CANCELLED
    assert not cancel(row)


def test_a_task_that_has_not_failed_cannot_be_retried() -> None:
    row = telltale.enqueue(thread_tasks.fail, "log")
    assert why_no_retry(row)
    with pytest.raises(CannotRetry, match="Only a task that failed"):
        retry(row)


def test_f11_two_retries_at_the_same_time_start_one_attempt() -> None:
    row = telltale.enqueue(thread_tasks.fail, "log")
    cancel(row)
    first, second = reload(row), reload(row)
    assert retry(first).attempt == 2
    with pytest.raises(CannotRetry, match="already been started again"):
        retry(second)
    assert reload(row).attempt == 2


def test_a_task_without_a_runner_cannot_be_retried() -> None:
    with pytest.raises(telltale.TaskError), telltale.track("By hand"):
        raise telltale.TaskError("Nothing works.")
    with pytest.raises(CannotRetry, match="from where it was started"):
        retry(TaskState.objects.get())


def test_a_retry_that_cannot_be_enqueued_has_failed(
    thread_worker: ThreadWorker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    thread_worker.start()
    row = wait_for_end(telltale.enqueue(thread_tasks.fail, str(tmp_path / "log")))

    def refuse(*args: object, **kwargs: object) -> str:
        raise ConnectionError("no room")

    monkeypatch.setattr(by_name("thread"), "enqueue", refuse)
    with pytest.raises(EnqueueFailed):
        retry(row)
    failed = reload(row)
    assert (failed.state, failed.attempt, failed.error) == (State.FAILED, 2, "The task couldn't be started.")


def test_a_retried_task_keeps_its_owner(thread_worker: ThreadWorker, tmp_path: Path) -> None:
    ada = User.objects.create_user("ada")
    thread_worker.start()
    row = wait_for_end(telltale.enqueue(thread_tasks.fail, str(tmp_path / "log"), owner=Owner(user_id=ada.pk)))
    retry(row)
    assert wait_for_end(row).owner == ada
