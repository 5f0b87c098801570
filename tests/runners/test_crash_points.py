"""Real workers that are killed before and after each of their effects: every task ends, or runs again.

Each task stops at its point, and then its process is killed, or its whole worker. What the row says must be true, and
must not wait for ever: `lost` when the lease expires, `failed` with words, or the end that was written before.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import django_rq
import pytest
from django_tasks_db.models import DBTaskResult
from redis.exceptions import ConnectionError as RedisConnectionError

import telltale
from telltale import store
from telltale.core.health import may_be_lost
from telltale.core.states import State
from telltale.dispatch.queue_status import QueueStatusPoller
from telltale.models import TaskState
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import celery_tasks, django_tasks, rq_tasks
from tests.app.crash_points import POINTS
from tests.runners.conftest import DEFAULT_DURATIONS, RunWorker
from tests.runners.workers import WorkerProcess, celery_command, django_command
from tests.servers import Redis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]

UNBEGUN = (State.FAILED, "The worker was stopped before it started this task.")
MISSING = (State.FAILED, "No worker started this task. It may have been lost.")
LOST = (State.LOST, None)
SUCCEEDED = (State.SUCCEEDED, None)

AFTER_A_KILLED_CHILD = dict.fromkeys(POINTS, LOST) | {"before claim": UNBEGUN, "after end": SUCCEEDED}
AFTER_A_KILLED_WORKER = dict.fromkeys(POINTS, LOST) | {"before claim": MISSING, "after end": SUCCEEDED}


def outcome(row: TaskState) -> tuple[str, str | None]:
    ended = wait_for_end(row)
    return State(ended.state), ended.error


def stop_at(tasks: ModuleType, folder: Path, point: str) -> tuple[TaskState, int]:
    """Start a task; returns its row and the process that runs it, once that has reached the point."""
    folder.mkdir(exist_ok=True)
    row = telltale.enqueue(tasks.stop_at, str(folder / "log"), point)
    wait_until(lambda: logged_lines(folder), f"it is {point}")
    return row, int(logged_lines(folder)[0])


def end_as_missing(row: TaskState) -> None:
    """Have a page show the task until it is missing, then let so much time pass that it ends."""
    poller = QueueStatusPoller()

    def is_missing() -> bool:
        poller._is_listening_cache.clear()
        with suppress(RedisConnectionError):  # Another test cuts connections; the poller's thread asks again, too.
            poller._update([str(row.pk)])
        return reload(row).missing_since is not None

    wait_until(is_missing, "it is missing")
    TaskState.objects.filter(pk=row.pk).update(missing_since=reload(row).missing_since - 100)
    assert may_be_lost(reload(row).snapshot, now=store.now())
    TaskState.objects.filter(pk=row.pk).update(missing_since=reload(row).missing_since - 10_000)
    poller._update([str(row.pk)])


@pytest.fixture(scope="class")
def celery_crash_worker(redis: Redis, run_worker: RunWorker) -> Iterator[WorkerProcess]:
    """A worker with one child process for each point."""
    redis.forget()
    command = celery_command(concurrency=len(POINTS))
    settings = {**DEFAULT_DURATIONS, "TELLTALE_TEST_CRASH_POINTS": "1"}
    yield from run_worker(celery_tasks, command, " ready.", **settings)


@pytest.fixture(scope="class")
def rq_crash_worker(redis: Redis, run_worker: RunWorker) -> Iterator[WorkerProcess]:
    redis.forget()
    settings = {**DEFAULT_DURATIONS, "TELLTALE_TEST_CRASH_POINTS": "1"}
    yield from run_worker(rq_tasks, django_command("rqworker", "default"), "Listening on", **settings)


@pytest.fixture(scope="class")
def django_tasks_crash_worker(run_worker: RunWorker) -> Iterator[WorkerProcess]:
    command = django_command("db_worker", "--no-startup-delay", "--interval", "0.1")
    settings = {**DEFAULT_DURATIONS, "TELLTALE_TEST_CRASH_POINTS": "1"}
    yield from run_worker(django_tasks, command, "Starting worker", **settings)


class TestCelery:
    @pytest.fixture
    def worker(self, celery_crash_worker: WorkerProcess) -> WorkerProcess:
        return celery_crash_worker

    def test_a_task_whose_failure_rolls_back_a_transaction_around_it_has_failed(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        row = telltale.enqueue(celery_tasks.fail_in_transaction, str(tmp_path / "log"))
        assert (*outcome(row), reload(row).attempt) == (State.FAILED, "Row 7 has no name.", 1)
        assert logged_lines(tmp_path) == ["fail"]

    def stop_at_all(self, folder: Path) -> dict[str, tuple[TaskState, int]]:
        return {point: stop_at(celery_tasks, folder / point, point) for point in POINTS}

    def test_f01_the_end_of_a_task_whose_child_process_is_killed_is_reported_at_once(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        tasks = self.stop_at_all(tmp_path)
        for _row, pid in tasks.values():
            os.kill(pid, signal.SIGKILL)
        # No lease expires: it lasts longer than a test waits.
        assert {point: outcome(row) for point, (row, _pid) in tasks.items()} == AFTER_A_KILLED_CHILD

    def test_each_task_of_a_killed_worker_ends(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        tasks = self.stop_at_all(tmp_path)
        worker.kill()
        worker.start()
        end_as_missing(tasks["before claim"][0])
        TaskState.objects.filter(state=State.RUNNING).update(lease_until=store.now() - 1)
        assert {point: outcome(row) for point, (row, _pid) in tasks.items()} == AFTER_A_KILLED_WORKER

    def test_a_task_whose_connections_to_the_message_broker_are_cut_goes_on(
        self, worker: WorkerProcess, redis: Redis, tmp_path: Path
    ) -> None:
        worker.start()
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        with redis.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
            client.client_kill_filter(_type="pubsub")
        (tmp_path / "file").touch()
        assert outcome(row) == SUCCEEDED
        later = telltale.enqueue(celery_tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert outcome(later) == SUCCEEDED


class TestRQ:
    @pytest.fixture
    def worker(self, rq_crash_worker: WorkerProcess) -> WorkerProcess:
        return rq_crash_worker

    def test_a_task_whose_failure_rolls_back_a_transaction_around_it_has_failed(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        row = telltale.enqueue(rq_tasks.fail_in_transaction, str(tmp_path / "log"))
        assert (*outcome(row), reload(row).attempt) == (State.FAILED, "Row 7 has no name.", 1)
        assert logged_lines(tmp_path) == ["fail"]

    def test_f01_the_end_of_a_job_whose_work_horse_is_killed_is_reported_at_once(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        outcomes = {}
        for point in POINTS:
            row, pid = stop_at(rq_tasks, tmp_path / point, point)
            os.kill(pid, signal.SIGKILL)
            outcomes[point] = outcome(row)
        assert outcomes == AFTER_A_KILLED_CHILD

    def test_a_job_that_was_not_begun_when_its_worker_was_killed_fails_once_rq_has_noticed(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        row, _pid = stop_at(rq_tasks, tmp_path, "before claim")
        worker.kill()
        # What any worker's maintenance does, after the job's own lease.
        django_rq.get_queue().started_job_registry.cleanup(timestamp=time.time() + 1_000)
        end_as_missing(row)
        assert outcome(row) == MISSING

    def test_a_job_that_depends_on_one_that_failed_fails(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        queue = django_rq.get_queue()
        first = queue.enqueue(rq_tasks.fail, str(tmp_path / "log"))
        second = queue.enqueue(rq_tasks.count, str(tmp_path / "log"), 1, 0.0, depends_on=first)
        wait_for_end(TaskState.objects.get(runner_id=first.id))
        row = TaskState.objects.get(runner_id=second.id)
        assert row.state == State.QUEUED
        end_as_missing(row)
        assert outcome(row) == MISSING
        assert logged_lines(tmp_path) == ["fail"]

    def test_a_task_that_was_committed_and_never_published_fails(self, redis: Redis) -> None:
        row = store.queue(
            runner="rq", runner_id="never-sent", name="tests.app.rq_tasks.count", now=store.now() - 60
        ).task
        end_as_missing(row)
        assert outcome(row) == MISSING


class TestDjangoTasks:
    @pytest.fixture
    def worker(self, django_tasks_crash_worker: WorkerProcess) -> WorkerProcess:
        return django_tasks_crash_worker

    def test_a_task_whose_failure_rolls_back_a_transaction_around_it_has_failed(
        self, worker: WorkerProcess, tmp_path: Path
    ) -> None:
        worker.start()
        row = telltale.enqueue(django_tasks.fail_in_transaction, str(tmp_path / "log"))
        assert (*outcome(row), reload(row).attempt) == (State.FAILED, "Row 7 has no name.", 1)
        assert logged_lines(tmp_path) == ["fail"]

    # At the other points the row and the result are as at one of these.
    @pytest.mark.parametrize("point", ["before claim", "after save", "after end"])
    def test_the_task_of_a_killed_worker_ends(self, worker: WorkerProcess, tmp_path: Path, point: str) -> None:
        worker.start()
        row, _pid = stop_at(django_tasks, tmp_path, point)
        worker.kill()
        assert DBTaskResult.objects.get().status == "RUNNING"
        if point == "before claim":
            end_as_missing(row)
        TaskState.objects.filter(state=State.RUNNING).update(lease_until=store.now() - 1)
        assert outcome(row) == AFTER_A_KILLED_WORKER[point]
