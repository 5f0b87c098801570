"""The thread runner beyond the contract."""

from pathlib import Path

import pytest

import telltale
from telltale.core.states import State
from telltale.testing.runners import wait_for_end
from tests.app import thread_tasks
from tests.runners.workers import ThreadWorker


@pytest.mark.django_db(transaction=True)
def test_a_task_that_fails_before_its_tracked_function_has_failed(thread_worker: ThreadWorker, tmp_path: Path) -> None:
    thread_worker.start()
    ended = wait_for_end(telltale.enqueue(thread_tasks.fail_above, str(tmp_path / "log")))
    assert (ended.state, ended.attempt, ended.error) == (State.FAILED, 1, "An unexpected error occurred.")
