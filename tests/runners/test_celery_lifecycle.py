"""How Celery starts and ends tasks: time limits, rejections, due times, killed and paused workers, redelivery."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from celery import group
from django.contrib.auth.models import User

import telltale
from telltale import store
from telltale.core.states import State
from telltale.dispatch.registry import runner_of
from telltale.dispatch.runner import Redelivers
from telltale.models import StoredNotice, TaskState
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import celery_app, celery_tasks
from tests.runners.conftest import RunWorker
from tests.runners.workers import WorkerProcess, celery_command
from tests.servers import Redis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]

TOO_LONG = "The task took too long and was stopped."


class TestLimits:
    def test_a_task_that_exceeds_its_soft_limit_fails_with_a_text_that_says_so(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        row = wait_for_end(telltale.enqueue(celery_tasks.exceed_soft_limit, str(tmp_path / "log")))
        assert (row.state, row.error) == (State.FAILED, TOO_LONG)

    def test_a_task_that_exceeds_its_hard_limit_fails_once_with_the_same_text(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        ada = User.objects.create_user("ada")
        row = wait_for_end(telltale.enqueue(celery_tasks.exceed_hard_limit, str(tmp_path / "log"), owner=ada))
        assert (row.state, row.error) == (State.FAILED, TOO_LONG)
        time.sleep(0.5)
        assert StoredNotice.objects.count() == 1

    @pytest.mark.parametrize(("requeue", "state", "attempt"), [(False, State.FAILED, 1), (True, State.SUCCEEDED, 2)])
    def test_a_rejected_task_fails_or_is_requeued(
        self, celery_worker: WorkerProcess, tmp_path: Path, requeue: bool, state: State, attempt: int
    ) -> None:
        celery_worker.start()
        row = telltale.enqueue(celery_tasks.reject, str(tmp_path / "log"), requeue)
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (state, attempt)

    def test_an_automatic_retry_is_shown_with_its_time(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.start()
        row = telltale.enqueue(celery_tasks.retry_with_backoff, str(tmp_path / "log"))
        wait_until(
            lambda: reload(row).state == State.RETRYING and reload(row).due_at is not None,
            "it is retrying, with a time",
        )
        assert reload(row).due_at == pytest.approx(store.now() + 2, abs=4)
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.FAILED, 2)


class TestCalls:
    def test_a_task_with_a_countdown_is_shown_with_its_time(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.start()
        before = store.now()
        celery_tasks.count.apply_async((str(tmp_path / "log"), 1, 0.0), countdown=3)
        after = store.now()
        row = TaskState.objects.get()
        assert row.state == State.QUEUED
        assert before + 3 <= row.due_at <= after + 3
        ended = wait_for_end(row)
        assert (ended.state, ended.due_at) == (State.SUCCEEDED, None)

    def test_a_task_with_an_eta_is_shown_with_its_time(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.start()
        due = datetime.now(UTC) + timedelta(hours=1)
        celery_tasks.count.apply_async((str(tmp_path / "log"), 1, 0.0), eta=due)
        row = TaskState.objects.get()
        assert (row.state, row.due_at) == (State.QUEUED, pytest.approx(due.timestamp(), abs=0.01))
        assert telltale.cancel(row)

    def test_each_task_of_a_plain_group_is_shown(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.start()
        group(celery_tasks.count.si(str(tmp_path / "log"), n, 0.0) for n in (1, 2, 3)).delay()
        rows = list(TaskState.objects.all())
        assert [(wait_for_end(row).state, wait_for_end(row).label) for row in rows] == [(State.SUCCEEDED, "Count")] * 3


class TestEndedProcesses:
    def test_the_task_of_a_killed_child_is_requeued_if_it_rejects_on_worker_lost(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        row = telltale.enqueue(celery_tasks.die_once, str(tmp_path / "log"))
        wait_until(lambda: reload(row).state == State.SUCCEEDED, "it was requeued, and succeeds")
        assert (reload(row).attempt, logged_lines(tmp_path)) == (2, ["die_once", "die_once"])

    def test_f05_a_task_ends_when_its_worker_shuts_down_at_once(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        celery_worker.send_signal(signal.SIGQUIT)
        wait_until(lambda: not celery_worker.is_alive(), "the worker is gone")
        assert wait_for_end(row).state in {State.LOST, State.FAILED}

    def test_f05_a_task_goes_on_and_keeps_its_lease_while_its_worker_shuts_down_warmly(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        file = tmp_path / "file"
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(file))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        celery_worker.send_signal(signal.SIGTERM)
        lease_until = reload(row).lease_until
        wait_until(lambda: store.now() > lease_until, "the lease of that moment has expired")
        assert celery_worker.is_alive()
        assert reload(row).state == State.RUNNING
        file.touch()
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 1)
        wait_until(lambda: not celery_worker.is_alive(), "the worker is gone")

    def test_the_main_process_reports_that_a_task_was_terminated(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        celery_app.control.revoke(reload(row).runner_id, terminate=True)
        assert wait_for_end(row).state == State.CANCELLED

    def test_a_worker_that_wakes_after_its_lease_has_expired_overwrites_nothing(
        self, celery_worker: WorkerProcess, run_worker: RunWorker, tmp_path: Path
    ) -> None:
        celery_worker.start()
        file = tmp_path / "file"
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(file))
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file"], "it runs")
        celery_worker.send_signal(signal.SIGSTOP, to_descendants=True)
        wait_until(lambda: reload(row).state == State.LOST, "it is lost")
        second_worker = next(run_worker(celery_tasks, celery_command("-n", "other@%h"), " ready."))
        try:
            second_worker.start()
            telltale.retry(reload(row))
            wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file", "wait_for_file"], "its second attempt runs")
            celery_worker.send_signal(signal.SIGCONT, to_descendants=True)
            time.sleep(1.5)
            assert (reload(row).state, reload(row).attempt) == (State.RUNNING, 2)
            file.touch()
            ended = wait_for_end(row)
            assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)
            time.sleep(1.0)
            assert (reload(row).state, reload(row).attempt) == (State.SUCCEEDED, 2)
        finally:
            second_worker.kill()


@pytest.fixture
def start_worker(redis: Redis, run_worker: RunWorker) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts another worker; Redis redelivers a message to it after `visible_s` without an acknowledgement."""
    redis.forget()
    workers: list[WorkerProcess] = []

    def start(visible_s: int = 2, queue: str = "celery") -> WorkerProcess:
        # A worker that runs the task must not prefetch the message that is delivered again.
        options = ["-n", f"w{len(workers)}@test", "-Q", queue, "--prefetch-multiplier", "1"]
        command = celery_command(*options, concurrency=1)
        worker = next(run_worker(celery_tasks, command, " ready.", CELERY_VISIBLE_S=str(visible_s)))
        workers.append(worker)
        worker.start()
        return worker

    yield start
    for worker in workers:
        worker.kill()


def let_second_worker_take_tasks() -> None:
    """It was started with another queue, because its start may take longer than Redis waits."""
    replies = celery_app.control.add_consumer("celery", destination=["w1@test"], reply=True, timeout=20)
    assert "w1@test" in replies[0]


class TestRedelivery:
    def test_f02_the_task_of_a_killed_worker_is_redelivered_as_its_second_attempt(
        self, start_worker: Callable[[], WorkerProcess], tmp_path: Path
    ) -> None:
        runner = runner_of(celery_tasks.redelivered)
        assert isinstance(runner, Redelivers)
        assert runner.redelivers(celery_tasks.redelivered)
        assert not runner.redelivers(celery_tasks.wait_for_file)
        first, file = start_worker(), tmp_path / "file"
        row = telltale.enqueue(celery_tasks.redelivered, str(tmp_path / "log"), str(file))
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file"], "it runs")
        first.kill()
        start_worker()
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file", "wait_for_file"], "it was redelivered")
        file.touch()
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)

    def test_f07_if_two_workers_run_a_task_at_once_the_newer_attempt_writes_its_end(
        self, start_worker: Callable[..., WorkerProcess], tmp_path: Path
    ) -> None:
        ada, file = User.objects.create_user("ada"), tmp_path / "file"
        start_worker(visible_s=5)
        start_worker(visible_s=5, queue="idle")
        row = telltale.enqueue(celery_tasks.redelivered, str(tmp_path / "log"), str(file), owner=ada)
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file"], "it runs")
        let_second_worker_take_tasks()
        wait_until(lambda: len(logged_lines(tmp_path)) == 2, "it runs twice")
        wait_until(lambda: reload(row).attempt == 2, "the second attempt owns it")
        file.touch()
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)
        time.sleep(0.5)
        assert StoredNotice.objects.count() == 1

    def test_a_killed_child_does_not_end_the_attempt_of_the_worker_that_runs_the_task_now(
        self, start_worker: Callable[..., WorkerProcess], tmp_path: Path
    ) -> None:
        ada, file = User.objects.create_user("ada"), tmp_path / "file"
        start_worker(visible_s=8)
        start_worker(visible_s=8, queue="idle")
        row = telltale.enqueue(celery_tasks.redelivered, str(tmp_path / "log"), str(file), owner=ada)
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        child = int(reload(row).worker.rpartition(":")[2])
        let_second_worker_take_tasks()
        wait_until(lambda: len(logged_lines(tmp_path)) == 2, "it runs twice")
        wait_until(lambda: reload(row).attempt == 2, "the second attempt owns it")
        os.kill(child, signal.SIGKILL)
        time.sleep(2.0)
        assert (reload(row).state, reload(row).attempt) == (State.RUNNING, 2)
        file.touch()
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)
        assert [notice.level for notice in StoredNotice.objects.all()] == ["success"]

    def test_a_hard_limit_of_the_first_attempt_does_not_end_the_second(
        self, start_worker: Callable[..., WorkerProcess], tmp_path: Path
    ) -> None:
        file = tmp_path / "file"
        # The second delivery comes after 8 s, the limit after 13, and a third delivery not before 16.
        start_worker(visible_s=8)
        start_worker(visible_s=8, queue="idle")
        celery_tasks.redelivered.apply_async((str(tmp_path / "log"), str(file)), time_limit=13)
        row = TaskState.objects.get()
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        began_at = reload(row).started_at
        let_second_worker_take_tasks()
        wait_until(lambda: reload(row).attempt == 2, "the second attempt owns it")
        time.sleep(max(0.0, began_at + 14.5 - time.time()))
        assert (reload(row).state, reload(row).attempt) == (State.RUNNING, 2)
        assert reload(row).started_at + 13 > time.time(), "its own limit is not reached"
        file.touch()
        assert wait_for_end(row).state == State.SUCCEEDED
