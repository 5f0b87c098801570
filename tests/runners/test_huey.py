"""Huey beyond the contract: its own calls, its immediate mode, schedules, retries, revoked and expired tasks."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.contrib.auth.models import User
from django.db import transaction
from huey.contrib.djhuey import HUEY

import telltale
from telltale import store
from telltale.core.states import State
from telltale.dispatch.runner import EnqueueFailed
from telltale.models import TaskState
from telltale.owners import owned_by
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import huey_tasks
from tests.runners.workers import WorkerProcess, huey_storage_at
from tests.servers import free_port

pytestmark = pytest.mark.django_db(transaction=True)


def the_row() -> TaskState:
    return TaskState.objects.get()


@pytest.fixture
def immediate() -> Iterator[None]:
    HUEY.immediate = True
    yield
    HUEY.immediate = False


@pytest.mark.usefixtures("immediate")
class TestImmediate:
    def test_a_plain_call_makes_the_row_and_ends_it(self, tmp_path: Path) -> None:
        ada = User.objects.create_user("ada")
        with owned_by(ada):
            huey_tasks.count(str(tmp_path / "log"), 3, 0.0)
        row = the_row()
        assert (row.state, row.attempt, row.owner, row.result) == (State.SUCCEEDED, 1, ada, "/counted/")

    def test_by_our_word_it_makes_one_row(self, tmp_path: Path) -> None:
        row = telltale.enqueue(huey_tasks.count, str(tmp_path / "log"), 3, 0.0)
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
        assert TaskState.objects.count() == 1


def test_without_its_storage_a_call_is_its_own_error_and_leaves_no_row() -> None:
    with huey_storage_at(f"redis://127.0.0.1:{free_port()}/0"):
        with pytest.raises(redis.exceptions.ConnectionError):
            huey_tasks.fail("log")
        with pytest.raises(EnqueueFailed, match="huey could not take"):
            telltale.enqueue(huey_tasks.fail, "log")
    assert TaskState.objects.count() == 0


@pytest.mark.service
class TestConsumer:
    def test_its_own_call_makes_the_row_at_once(self, huey_worker: WorkerProcess, tmp_path: Path) -> None:
        huey_worker.pause()
        ada = User.objects.create_user("ada")
        with owned_by(ada):
            result = huey_tasks.count(str(tmp_path / "log"), 3, 0.0)
        row = the_row()
        assert (row.state, row.runner_id, row.owner, row.label) == (State.QUEUED, result.id, ada, "Count")
        huey_worker.start()
        assert wait_for_end(row).state == State.SUCCEEDED

    def test_a_consumer_that_is_quicker_than_the_askers_commit_makes_no_second_row(
        self, huey_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        huey_worker.start()
        with transaction.atomic():
            huey_tasks.count(str(tmp_path / "log"), 3, 0.0)
            time.sleep(0.3)
        ended = wait_for_end(the_row())
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)

    def test_a_scheduled_task_says_when_it_is_due_and_runs_then(
        self, huey_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        huey_worker.start()
        before = store.now()
        huey_tasks.count.schedule(args=(str(tmp_path / "log"), 1, 0.0), delay=2)
        assert (the_row().state, the_row().due_at) == (State.QUEUED, pytest.approx(before + 2, abs=0.5))
        ended = wait_for_end(the_row())
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
        assert TaskState.objects.count() == 1

    def test_a_retry_shows_retrying_with_its_time_and_then_the_last_failure(
        self, huey_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        huey_worker.start()
        row = telltale.enqueue(huey_tasks.fail_twice, str(tmp_path / "log"))
        wait_until(lambda: reload(row).state == State.RETRYING, "it is retrying")
        assert reload(row).due_at == pytest.approx(store.now() + 1, abs=2)
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.FAILED, 2)
        assert logged_lines(tmp_path) == ["fail_twice", "fail_twice"]

    def test_a_revoked_task_is_cancelled_when_its_turn_comes(self, huey_worker: WorkerProcess, tmp_path: Path) -> None:
        huey_worker.pause()
        result = huey_tasks.count(str(tmp_path / "log"), 1, 0.0)
        result.revoke()
        huey_worker.start()
        assert wait_for_end(the_row()).state == State.CANCELLED
        assert logged_lines(tmp_path) == []

    def test_an_expired_task_says_that_no_worker_was_free(self, huey_worker: WorkerProcess, tmp_path: Path) -> None:
        huey_worker.pause()
        huey_tasks.expire(str(tmp_path / "log"))
        time.sleep(1.2)
        huey_worker.start()
        row = wait_for_end(the_row())
        assert (row.state, row.error) == (State.FAILED, "The task expired before a worker was free.")

    def test_an_untracked_task_has_no_row(self, huey_worker: WorkerProcess, tmp_path: Path) -> None:
        huey_worker.start()
        huey_tasks.untracked(str(tmp_path / "log"))
        wait_until(lambda: logged_lines(tmp_path) == ["untracked"], "it has run")
        assert TaskState.objects.count() == 0
