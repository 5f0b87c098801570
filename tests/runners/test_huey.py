"""Huey beyond the contract: its own calls, its immediate mode, schedules, retries, revoked and expired tasks."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.db import transaction
from huey.contrib.djhuey import HUEY
from huey.exceptions import CancelExecution

import telltale
from telltale import store
from telltale.core.states import State
from telltale.dispatch.runner import EnqueueFailed
from telltale.models import TaskState
from telltale.owners import owned_by
from telltale.testing.runners import logged_lines, wait_for_end
from telltale.worker.attempt import worker_name
from tests.app import huey_tasks
from tests.runners.own_calls import RetryTests, only_row
from tests.runners.workers import WorkerProcess, claim_elsewhere, huey_storage_at
from tests.servers import free_port

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def immediate() -> Iterator[None]:
    HUEY.storage.close()  # Huey replaces its storage now, and would leave this one's connection open.
    HUEY.immediate = True
    yield
    HUEY.immediate = False


@pytest.mark.parametrize(
    ("worker", "state"),
    [(worker_name(os.getpid()), State.LOST), ("elsewhere:1", State.RUNNING)],
    ids=["its own", "another's"],
)
def test_a_consumer_that_is_interrupted_ends_its_own_attempts_only(worker: str, state: State) -> None:
    task = huey_tasks.count.s("log", 1, 0.0)
    row = store.queue(runner="huey", runner_id=task.id, name="count").task
    assert isinstance(store.claim(task_id=row.pk, worker=worker), store.Claim)
    HUEY._tasks_in_flight.add(task)
    HUEY.notify_interrupted_tasks()
    assert store.get_task(row.pk).state == state


@pytest.mark.usefixtures("immediate")
class TestImmediate:
    def test_a_plain_call_creates_the_row_and_ends_it(self, tmp_path: Path) -> None:
        ada = User.objects.create_user("ada")
        with owned_by(ada):
            huey_tasks.count(str(tmp_path / "log"), 3, 0.0)
        row = only_row()
        assert (row.state, row.attempt, row.owner, row.result) == (State.SUCCEEDED, 1, ada, "/counted/")

    def test_telltale_enqueue_creates_a_single_row(self, tmp_path: Path) -> None:
        row = telltale.enqueue(huey_tasks.count, str(tmp_path / "log"), 3, 0.0)
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
        assert TaskState.objects.count() == 1


@pytest.mark.parametrize("first", [huey_tasks.count, huey_tasks.fail])
def test_all_tasks_of_a_pipeline_have_the_same_owner(first: Any, tmp_path: Path) -> None:
    ada, log = User.objects.create_user("ada"), str(tmp_path / "log")
    arguments = (log, 1, 0.0) if first is huey_tasks.count else (log,)
    following = huey_tasks.count.s(log, 2, 0.0)
    with huey_storage_at(str(tmp_path / "huey.sqlite3")):
        with owned_by(ada):
            HUEY.enqueue(first.s(*arguments).then(following).error(huey_tasks.handle_error.s(log)))
        for _ in range(2):  # as a consumer does, outside of any request
            HUEY.execute(HUEY.dequeue())
        HUEY.storage.close()
    assert [row.owner for row in TaskState.objects.all()] == [ada, ada]


@pytest.mark.parametrize("is_utc", [True, False], ids=["UTC", "local time"])
@pytest.mark.parametrize("how", huey_tasks.RETRIES)
def test_a_task_that_asks_to_be_run_again_is_retrying_until_then(
    how: str, is_utc: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HUEY, "utc", is_utc)
    with huey_storage_at(str(tmp_path / "huey.sqlite3")):
        huey_tasks.retry(how)
        HUEY.execute(HUEY.dequeue())
        assert HUEY.scheduled_count() == 1, "Huey will run it again"
    row = only_row()
    assert (row.state, row.due_at) == (State.RETRYING, pytest.approx(store.now() + 3_600, abs=60))


@pytest.mark.parametrize("is_utc", [True, False], ids=["UTC", "local time"])
def test_a_scheduled_task_has_its_time_also_if_huey_keeps_local_times(
    is_utc: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HUEY, "utc", is_utc)
    with huey_storage_at(str(tmp_path / "huey.sqlite3")):
        huey_tasks.count.schedule(args=(str(tmp_path / "log"), 1, 0.0), delay=3_600)
    assert only_row().due_at == pytest.approx(store.now() + 3_600, abs=60)


def test_a_task_that_a_hook_before_it_cancels_is_cancelled(tmp_path: Path) -> None:
    def refuse(task: object) -> None:
        raise CancelExecution

    HUEY.pre_execute("refuse")(refuse)
    try:
        with huey_storage_at(str(tmp_path / "huey.sqlite3")):
            huey_tasks.count(str(tmp_path / "log"), 1, 0.0)
            HUEY.execute(HUEY.dequeue())
    finally:
        HUEY.unregister_pre_execute("refuse")
    assert (only_row().state, logged_lines(tmp_path)) == (State.CANCELLED, [])


def test_without_its_storage_every_call_raises_and_leaves_no_row() -> None:
    with huey_storage_at(f"redis://127.0.0.1:{free_port()}/0"):
        with pytest.raises(redis.exceptions.ConnectionError):
            huey_tasks.fail("log")
        with pytest.raises(EnqueueFailed, match="huey could not take"):
            telltale.enqueue(huey_tasks.fail, "log")
    assert TaskState.objects.count() == 0


@pytest.mark.service
class TestWorker(RetryTests):
    queue = HUEY.name

    @pytest.fixture
    def worker(self, huey_worker: WorkerProcess) -> WorkerProcess:
        return huey_worker

    def call(self, task: Any, **kwargs: Any) -> str:
        return str(task(**kwargs).id)

    def test_a_consumer_that_is_faster_than_the_callers_commit_creates_no_second_row(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        with transaction.atomic():
            huey_tasks.count(str(tmp_path / "log"), 3, 0.0)
            time.sleep(0.3)
        ended = wait_for_end(only_row())
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)

    def test_a_scheduled_task_is_shown_with_its_time_and_runs_then(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        before = store.now()
        huey_tasks.count.schedule(args=(str(tmp_path / "log"), 1, 0.0), delay=3)
        after = store.now()
        assert only_row().due_at is not None
        assert before + 3 <= only_row().due_at <= after + 3
        ended = wait_for_end(only_row())
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
        assert TaskState.objects.count() == 1

    def test_a_task_that_huey_revoked_is_cancelled_when_a_consumer_receives_it(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.pause()
        result = huey_tasks.count(str(tmp_path / "log"), 1, 0.0)
        result.revoke()
        worker.start()
        assert wait_for_end(only_row()).state == State.CANCELLED
        assert logged_lines(tmp_path) == []

    def test_an_expired_task_fails_with_a_text_that_says_so(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.pause()
        huey_tasks.expire(str(tmp_path / "log"))
        time.sleep(1.2)
        worker.start()
        row = wait_for_end(only_row())
        assert (row.state, row.error) == (State.FAILED, "The task expired before a worker was free.")

    def test_an_expired_task_that_runs_elsewhere_is_not_ended(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.pause()
        huey_tasks.expire(str(tmp_path / "log"))
        claim_elsewhere(only_row())
        time.sleep(1.2)
        worker.start()
        later = telltale.enqueue(huey_tasks.count, str(tmp_path / "log"), 1, 0.0)
        assert wait_for_end(later).state == State.SUCCEEDED
        assert TaskState.objects.exclude(pk=later.pk).get().state == State.RUNNING
