"""Why a task waits: its runner is asked at a bounded rate, and followers get the answer."""

import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import telltale
from telltale import store
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.dispatch.queue_status import QueueStatusPoller, request_queue_status
from telltale.models import TaskState
from telltale.runners.threads import ThreadRunner
from telltale.testing.runners import reload, wait_for_end, wait_until
from tests.app import thread_tasks
from tests.runners.workers import SHORT_DURATIONS, ThreadWorker

pytestmark = pytest.mark.django_db(transaction=True)


class ListeningRunner(ThreadRunner):
    """A thread runner that says whether a worker is listening."""

    def is_listening(self, task: object) -> bool | None:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def short_intervals(settings: Any) -> None:
    settings.TELLTALE = {"BROKER": "memory://", "QUEUE_STATUS_EVERY_S": 0.5, **SHORT_DURATIONS}


def request(*rows: TaskState) -> None:
    request_queue_status([reload(row).snapshot for row in rows], now=store.now() + 10)


def queue_status(row: TaskState) -> tuple[int | None, bool | None]:
    return reload(row).snapshot.ahead, reload(row).snapshot.is_listening


def test_without_the_runners_position_the_rows_are_counted(thread_worker: ThreadWorker, tmp_path: Path) -> None:
    thread_worker.pause()
    rows = [telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0) for _ in range(3)]
    request(*rows)
    wait_until(lambda: [queue_status(row)[0] for row in rows] == [0, 1, 2], "the positions are known")
    thread_worker.start()
    for row in rows:
        assert (wait_for_end(row).state, queue_status(row)) == (State.SUCCEEDED, (None, None))


def test_the_runner_is_asked_about_a_task_at_a_bounded_rate(
    thread_worker: ThreadWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    asked_at: list[float] = []
    monkeypatch.setattr(ListeningRunner, "is_listening", lambda self, task: asked_at.append(time.monotonic()))
    monkeypatch.setattr("telltale.dispatch.queue_status.LISTENING_FOR_S", 0.0)
    settings.TELLTALE = {**settings.TELLTALE, "RUNNERS": [f"{__name__}.ListeningRunner"]}
    thread_worker.pause()
    row = telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0)
    began_at = time.monotonic()

    def is_asked_again() -> bool:
        request(row)
        return len(asked_at) >= 4

    wait_until(is_asked_again, "the runner is asked four times")
    assert len(asked_at) <= 2 + (time.monotonic() - began_at) / 0.5


def test_the_runner_is_not_asked_about_new_tasks_and_those_due_later(
    thread_worker: ThreadWorker, tmp_path: Path
) -> None:
    thread_worker.pause()
    row = telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0)
    request_queue_status([row.snapshot], now=store.now())
    store.reschedule(row.pk, store.now() + 3_600)
    request_queue_status([reload(row).snapshot], now=store.now() + 10)
    time.sleep(0.3)
    assert queue_status(row) == (None, None)


def test_an_error_of_the_runner_leaves_the_status_unknown_until_it_works_again(
    thread_worker: ThreadWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ThreadRunner, name: str) -> object:
        raise ConnectionError("away")

    thread_worker.pause()
    row = telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(ThreadRunner, "find", broken)
        request(row)
        time.sleep(0.7)
    assert queue_status(row) == (None, None)
    request(row)
    wait_until(lambda: queue_status(row)[0] == 0, "the position is known as soon as the runner answers")


def test_an_error_of_a_runner_leaves_no_task_of_another_runner_without_its_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class BrokenRunner(ThreadRunner):
        def find(self, name: str) -> object | None:
            asked.append(name)
            raise ConnectionError("the broker is down")

    asked: list[str] = []
    runners = {"broken": BrokenRunner(), "thread": ThreadRunner()}
    monkeypatch.setattr("telltale.dispatch.queue_status.by_name", runners.get)
    name = ThreadRunner().name_of(thread_tasks.count)
    rows = [
        store.queue(runner=runner, name=name, task_id=UUID(int=number)).task
        for number, runner in enumerate(["broken", "broken", "thread"], 1)
    ]
    QueueStatusPoller()._update([str(row.pk) for row in rows])
    assert [queue_status(row)[0] for row in rows] == [None, None, 0]
    assert len(asked) == 1, "it is not asked again and again while it is down"


def test_a_connection_that_can_not_be_closed_does_not_end_the_questions(
    thread_worker: ThreadWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def broken() -> None:
        tries.append(threading.current_thread().name)
        raise RuntimeError("closed already")

    thread_worker.pause()
    rows = [telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr("telltale.dispatch.queue_status.close_old_connections", broken)
        request(rows[0])
        wait_until(lambda: "telltale-waiting" in tries, "a connection was to be closed")
    request(rows[1])
    wait_until(lambda: queue_status(rows[1])[0] == 1, "the next position is known")


@pytest.mark.parametrize("state", [state for state in State if state not in (State.QUEUED, State.RETRYING)])
def test_the_runner_is_asked_only_about_tasks_that_wait(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[str] = []
    monkeypatch.setattr(QueueStatusPoller, "request", lambda self, ids, *, every_s: requested.extend(ids))
    fields = {"attempt": 1, "seq": 1, "created_at": 0.0}
    request_queue_status(
        [Snapshot(id="x", state=state, **fields), Snapshot(id="y", state=State.QUEUED, **fields)], now=store.now()
    )
    assert requested == ["y"]
