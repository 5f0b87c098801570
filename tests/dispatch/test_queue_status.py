"""Why a task waits: asked of its runner at a bounded rate, and told to whoever follows it."""

import time
from pathlib import Path
from typing import Any

import pytest

import telltale
from telltale import store
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.dispatch.queue_status import QueueStatusPoller, request_queue_status
from telltale.models import TaskState
from telltale.runners.threads import ThreadRunner
from tests.app import celery_tasks, thread_tasks
from tests.runners.benches import SHORT, ProcessBench, ThreadBench
from tests.runners.watching import ended, fresh, until

pytestmark = pytest.mark.django_db(transaction=True)


class Attentive(ThreadRunner):
    """A thread runner that is asked whether anybody listens."""

    def is_listening(self, task: object) -> bool | None:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def asked_often(settings: Any) -> None:
    settings.TELLTALE = {"BROKER": "memory://", "WAITING_EVERY_S": 0.5, **SHORT}


def ask(*rows: TaskState) -> None:
    request_queue_status([fresh(row).snapshot for row in rows], now=store.now() + 10)


def place(row: TaskState) -> tuple[int | None, bool | None]:
    return fresh(row).snapshot.ahead, fresh(row).snapshot.is_listening


def test_a_runner_that_knows_no_place_is_helped_by_the_rows(threads: ThreadBench, tmp_path: Path) -> None:
    threads.pause()
    rows = [telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0) for _ in range(3)]
    ask(*rows)
    until(lambda: [place(row)[0] for row in rows] == [0, 1, 2], "their places are known")
    threads.start()
    for row in rows:
        assert (ended(row).state, place(row)) == (State.SUCCEEDED, (None, None))


def test_a_task_is_asked_about_at_a_bounded_rate(
    threads: ThreadBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(Attentive, "is_listening", lambda self, task: asked.append(time.monotonic()))
    monkeypatch.setattr("telltale.dispatch.queue_status.LISTENING_FOR_S", 0.0)
    settings.TELLTALE = {**settings.TELLTALE, "RUNNERS": [f"{__name__}.Attentive"]}
    threads.pause()
    row = telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0)
    until_at = time.monotonic() + 1.6
    while time.monotonic() < until_at:
        ask(row)
        time.sleep(0.01)
    assert 2 <= len(asked) <= 4


def test_who_has_only_just_come_or_is_due_later_is_not_asked_about(threads: ThreadBench, tmp_path: Path) -> None:
    threads.pause()
    row = telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0)
    request_queue_status([row.snapshot], now=store.now())
    store.reschedule(row.pk, store.now() + 3_600)
    request_queue_status([fresh(row).snapshot], now=store.now() + 10)
    time.sleep(0.3)
    assert place(row) == (None, None)


def test_a_runner_that_is_out_of_order_is_no_ones_trouble(
    threads: ThreadBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ThreadRunner, name: str) -> object:
        raise ConnectionError("away")

    threads.pause()
    row = telltale.enqueue(thread_tasks.count, str(tmp_path / "log"), 1, 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(ThreadRunner, "find", broken)
        ask(row)
        time.sleep(0.7)
    assert place(row) == (None, None)
    ask(row)
    until(lambda: place(row)[0] == 0, "it is told as soon as the runner answers")


@pytest.mark.parametrize("state", [state for state in State if state is not State.QUEUED])
def test_only_what_is_queued_is_asked_about(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(QueueStatusPoller, "request_queue_status", lambda self, ids, *, every_s: asked.extend(ids))
    of = {"attempt": 1, "seq": 1, "created_at": 0.0}
    request_queue_status(
        [Snapshot(id="x", state=state, **of), Snapshot(id="y", state=State.QUEUED, **of)], now=store.now()
    )
    assert asked == ["y"]


@pytest.mark.service
def test_a_queue_without_a_worker_says_so_until_one_comes(celery_bench: ProcessBench, tmp_path: Path) -> None:
    celery_bench.pause()
    row = telltale.enqueue(celery_tasks.count, str(tmp_path / "log"), 1, 0.0)
    ask(row)
    until(lambda: place(row) == (0, False), "nobody is there")
    celery_bench.start()
    assert ended(row).state == State.SUCCEEDED
