"""Tests of a runner's own enqueueing call, such as `task.delay`, and of its retries; the same for several runners."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

import telltale
from telltale import store
from telltale.core.states import State
from telltale.models import TaskState
from telltale.owners import owned_by
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.runners.workers import WorkerProcess


def only_row() -> TaskState:
    """The row of the test's only task."""
    return TaskState.objects.get()


class OwnCallTests:
    """Implement `call`, and override the fixture `worker`."""

    queue: str
    """The queue into which the worker's tasks are put."""

    @pytest.fixture
    def worker(self) -> WorkerProcess:
        """A worker of the runner; its tasks include `untracked`, and `follow_me`, which the settings follow."""
        raise NotImplementedError("Override the fixture `worker`.")

    def call(self, task: Any, **kwargs: Any) -> str:
        """Enqueue the task by the runner's own call; returns the runner's id."""
        raise NotImplementedError("Implement `call`.")

    def test_the_runners_own_call_creates_the_row_at_once(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.pause()
        ada = User.objects.create_user("ada")
        with owned_by(ada):
            runner_id = self.call(worker.tasks.count, log=str(tmp_path / "log"), steps=3, pause_s=0.0)
        row = only_row()
        assert (row.state, row.runner_id, row.owner, row.label) == (State.QUEUED, runner_id, ada, "Count")
        assert row.queue == self.queue
        worker.start()
        assert wait_for_end(row).state == State.SUCCEEDED

    def test_a_task_that_is_followed_by_its_name_is_shown(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.pause()
        ada = User.objects.create_user("ada")
        with owned_by(ada):
            runner_id = self.call(worker.tasks.follow_me, log=str(tmp_path / "log"))
        row = only_row()
        assert (row.state, row.runner_id, row.owner) == (State.QUEUED, runner_id, ada)
        assert row.label == "Something of another package"
        worker.start()
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt, logged_lines(tmp_path)) == (State.SUCCEEDED, 1, ["follow_me"])
        assert TaskState.objects.count() == 1

    def test_an_untracked_task_has_no_row(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        self.call(worker.tasks.untracked, log=str(tmp_path / "log"))
        wait_until(lambda: logged_lines(tmp_path) == ["untracked"], "it has run")
        assert TaskState.objects.count() == 0


class RetryTests(OwnCallTests):
    """For runners that retry failed tasks. The tasks include `fail_twice`, which is retried once, after 3 s."""

    def enqueue_retry(self, runner_id: str) -> None:
        """Enqueue the retry, if the runner itself does not."""

    def test_a_task_is_shown_as_retrying_until_its_last_attempt_fails(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        row = telltale.enqueue(worker.tasks.fail_twice, str(tmp_path / "log"))
        wait_until(
            lambda: reload(row).state == State.RETRYING and reload(row).due_at is not None,
            "it is retrying, with a time",
        )
        assert reload(row).due_at == pytest.approx(store.now() + 2, abs=4)
        self.enqueue_retry(str(reload(row).runner_id))
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.FAILED, 2)
        assert logged_lines(tmp_path) == ["fail_twice", "fail_twice"]
