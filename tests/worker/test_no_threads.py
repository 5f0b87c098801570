"""A system without a thread to give: tasks run and end, and the reporter starts as soon as there is one again."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import pytest

import telltale
from telltale import native, store
from telltale.dispatch.runner import EnqueueFailed
from telltale.models import TaskState
from telltale.runners import threads
from telltale.testing.runners import logged_lines, wait_for_end
from telltale.worker import reporter as reporter_module
from telltale.worker.reporter import Reporter
from telltale.worker.run import run_attempt
from tests.app import thread_tasks

pytestmark = pytest.mark.django_db(transaction=True)

TOO_LARGE = 2**47 - 2**20
"""No system has so much memory for the stack of a thread, so none can be started."""


@pytest.fixture(autouse=True)
def fresh_reporter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter_module, "_reporter", native.PerProcess(Reporter))


@contextmanager
def no_threads() -> Iterator[None]:
    threading.stack_size(TOO_LARGE)
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threading.Thread(target=print).start()
        yield
    finally:
        threading.stack_size(0)


def test_a_task_runs_and_ends_without_threads_and_that_is_logged_once(queue, caplog) -> None:
    with no_threads():
        for _ in range(3):
            task = queue()
            with run_attempt(task_id=task.pk):
                assert len(list(telltale.progress(range(7)))) == 7
            assert store.get_task(task.pk).state == "succeeded"
            assert store.get_task(task.pk).progress["current"] == 7
    assert sum("telltale-reporter can't be started" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("starts_by", ["the next task", "the next loop", "the next stage"])
def test_the_reporter_starts_when_there_are_threads_again(queue, carried, starts_by: str) -> None:
    task = queue()
    with no_threads():
        run = run_attempt(task_id=task.pk)
        tracker = run.__enter__()
    if starts_by == "the next task":
        with run_attempt(task_id=queue().pk):
            pass
    if starts_by == "the next stage":
        with telltale.stage("Reading"):
            pass
    if starts_by == "the next loop":
        list(telltale.progress(range(3)))
    tracker.current = 5
    carried.assert_current(task, 5)
    run.__exit__(None, None, None)


def test_the_saver_starts_the_reporter_and_the_reporter_the_saver(queue, carried) -> None:
    reporter = reporter_module.reporter()
    task = queue()
    with no_threads():
        run = run_attempt(task_id=task.pk)
        tracker = run.__enter__()
    assert reporter.saver.start()
    for number in count(1):
        tracker.current = number
        if TaskState.objects.get(pk=task.pk).progress.get("current"):
            break  # The saver saves what the reporter has published.
        assert number < 100_000
    run.__exit__(None, None, None)


def test_a_task_that_the_thread_runner_could_not_take_does_not_run_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(threads, "_pool", native.PerProcess(partial(ThreadPoolExecutor, max_workers=1)))
    log = str(tmp_path / "log")
    with no_threads(), pytest.raises(EnqueueFailed, match="nothing was queued"):
        telltale.enqueue(thread_tasks.log_argument, log, "refused")
    row = telltale.enqueue(thread_tasks.log_argument, log, "taken")
    wait_for_end(row)
    assert logged_lines(tmp_path) == ['"taken"']
    assert TaskState.objects.get().pk == row.pk
