"""The life and death of Celery's tasks and workers: limits, rejections, kills, redeliveries, shutdowns, pauses."""

import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from celery import chord, group
from django.contrib.auth.models import User

import telltale
from telltale import store
from telltale.core.states import State
from telltale.dispatch.registry import runner_of
from telltale.dispatch.runner import Redelivers
from telltale.models import StoredNotice, TaskState
from telltale.owners import owned_by
from telltale.testing.runners import logged_lines, reload, wait_for_end, wait_until
from tests.app import celery_app, celery_tasks
from tests.runners.conftest import RunWorker
from tests.runners.workers import WorkerProcess, celery_command, celery_results_in
from tests.servers import Redis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]

TOO_LONG = "The task took too long and was stopped."


class TestLimits:
    def test_a_soft_limit_is_told_in_words(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.start()
        row = wait_for_end(telltale.enqueue(celery_tasks.exceed_soft_limit, str(tmp_path / "log")))
        assert (row.state, row.error) == (State.FAILED, TOO_LONG)

    def test_a_hard_limit_is_told_once_in_the_same_words(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.start()
        ada = User.objects.create_user("ada")
        row = wait_for_end(telltale.enqueue(celery_tasks.exceed_hard_limit, str(tmp_path / "log"), owner=ada))
        assert (row.state, row.error) == (State.FAILED, TOO_LONG)
        time.sleep(0.5)
        assert StoredNotice.objects.count() == 1

    @pytest.mark.parametrize(("requeue", "state", "attempt"), [(False, State.FAILED, 1), (True, State.SUCCEEDED, 2)])
    def test_a_rejected_task_has_failed_or_comes_again(
        self, celery_worker: WorkerProcess, tmp_path: Path, requeue: bool, state: State, attempt: int
    ) -> None:
        celery_worker.start()
        row = telltale.enqueue(celery_tasks.reject, str(tmp_path / "log"), requeue)
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (state, attempt)

    def test_an_automatic_retry_with_a_back_off_is_shown_as_retrying(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        row = telltale.enqueue(celery_tasks.retry_with_backoff, str(tmp_path / "log"))
        wait_until(lambda: reload(row).due_at is not None, "it is retrying, and says when")
        assert (reload(row).state, reload(row).due_at) == (State.RETRYING, pytest.approx(store.now() + 2, abs=2))
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.FAILED, 2)


class TestCalls:
    def test_a_countdown_says_when_it_is_due(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.start()
        celery_tasks.count.apply_async((str(tmp_path / "log"), 1, 0.0), countdown=1.5)
        row = TaskState.objects.get()
        assert (row.state, row.due_at) == (State.QUEUED, pytest.approx(store.now() + 1.5, abs=0.5))
        ended = wait_for_end(row)
        assert (ended.state, ended.due_at) == (State.SUCCEEDED, None)

    def test_the_members_and_the_body_of_a_chord_belong_to_whoever_asked(
        self, celery_worker: WorkerProcess, run_worker: RunWorker, tmp_path: Path
    ) -> None:
        celery_worker.pause()  # It stores no results, and would take members all the same.
        ada, log = User.objects.create_user("ada"), str(tmp_path / "log")
        bench = next(run_worker(celery_tasks, celery_command(), " ready.", CELERY_RESULTS="django-db"))
        try:
            with celery_results_in("django-db"):
                bench.start()
                with owned_by(ada):
                    chord(
                        group(celery_tasks.count.si(log, n, 0.0) for n in (1, 2, 3)), celery_tasks.add_up.s(log)
                    ).delay()
                wait_until(
                    lambda: TaskState.objects.filter(state=State.SUCCEEDED).count() == 4, "members and body have run"
                )
        finally:
            bench.kill()
        assert {row.owner for row in TaskState.objects.all()} == {ada}

    def test_a_date_says_when_it_is_due(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.start()
        due = datetime.now(UTC) + timedelta(hours=1)
        celery_tasks.count.apply_async((str(tmp_path / "log"), 1, 0.0), eta=due)
        row = TaskState.objects.get()
        assert (row.state, row.due_at) == (State.QUEUED, pytest.approx(due.timestamp(), abs=0.01))
        assert telltale.cancel(row)

    def test_a_group_has_a_bar_for_each_unless_asked_for_one(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        group(celery_tasks.count.si(str(tmp_path / "log"), n, 0.0) for n in (1, 2, 3)).delay()
        rows = list(TaskState.objects.all())
        assert [(wait_for_end(row).state, wait_for_end(row).label) for row in rows] == [(State.SUCCEEDED, "Count")] * 3


class TestDeaths:
    def test_a_killed_childs_task_comes_again_where_the_task_wants_that(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        row = telltale.enqueue(celery_tasks.die_once, str(tmp_path / "log"))
        wait_until(lambda: reload(row).state == State.SUCCEEDED, "it has come again")
        assert (reload(row).attempt, logged_lines(tmp_path)) == (2, ["die_once", "die_once"])

    def test_a_cold_shutdown_leaves_no_spinner(self, celery_worker: WorkerProcess, tmp_path: Path) -> None:
        celery_worker.start()
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        celery_worker.send_signal(signal.SIGQUIT)
        wait_until(lambda: not celery_worker.is_alive(), "the worker is gone")
        assert wait_for_end(row).state in {State.LOST, State.FAILED}

    def test_a_terminated_task_is_cancelled_by_its_parents_word(
        self, celery_worker: WorkerProcess, tmp_path: Path
    ) -> None:
        celery_worker.start()
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        celery_app.control.revoke(reload(row).runner_id, terminate=True)
        assert wait_for_end(row).state == State.CANCELLED

    def test_a_worker_that_is_paused_beyond_its_lease_overwrites_nothing_when_it_wakes(
        self, celery_worker: WorkerProcess, run_worker: RunWorker, tmp_path: Path
    ) -> None:
        celery_worker.start()
        file = tmp_path / "file"
        row = telltale.enqueue(celery_tasks.wait_for_file, str(tmp_path / "log"), str(file))
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file"], "it runs")
        celery_worker.send_signal(signal.SIGSTOP, to_descendants=True)
        wait_until(lambda: reload(row).state == State.LOST, "it is lost")
        other = next(run_worker(celery_tasks, celery_command("-n", "other@%h"), " ready."))
        try:
            other.start()
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
            other.kill()


@pytest.fixture
def impatient(redis: Redis, run_worker: RunWorker) -> Iterator[Callable[[], WorkerProcess]]:
    """Workers of a Redis that delivers a message again after two seconds without an acknowledgement."""
    redis.forget()
    made: list[WorkerProcess] = []

    def another() -> WorkerProcess:
        command = celery_command("-n", f"w{len(made)}@%h", concurrency=1)
        made.append(next(run_worker(celery_tasks, command, " ready.", CELERY_VISIBLE_S="2")))
        made[-1].start()
        return made[-1]

    yield another
    for bench in made:
        bench.kill()


class TestRedelivery:
    def test_a_killed_workers_task_is_delivered_again_as_its_second_attempt(
        self, impatient: Callable[[], WorkerProcess], tmp_path: Path
    ) -> None:
        celery = runner_of(celery_tasks.redelivered)
        assert isinstance(celery, Redelivers)
        assert (celery.redelivers(celery_tasks.redelivered), celery.redelivers(celery_tasks.wait_for_file)) == (
            True,
            False,
        )
        first, file = impatient(), tmp_path / "file"
        row = telltale.enqueue(celery_tasks.redelivered, str(tmp_path / "log"), str(file))
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file"], "it runs")
        first.kill()
        impatient()
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file", "wait_for_file"], "it has come again")
        file.touch()
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)

    def test_of_two_workers_that_run_it_at_once_the_newer_attempt_tells_its_end(
        self, impatient: Callable[[], WorkerProcess], tmp_path: Path
    ) -> None:
        ada, file = User.objects.create_user("ada"), tmp_path / "file"
        impatient()
        row = telltale.enqueue(celery_tasks.redelivered, str(tmp_path / "log"), str(file), owner=ada)
        wait_until(lambda: logged_lines(tmp_path) == ["wait_for_file"], "it runs")
        impatient()
        wait_until(lambda: len(logged_lines(tmp_path)) == 2, "it runs twice")
        wait_until(lambda: reload(row).attempt == 2, "the second attempt owns it")
        file.touch()
        ended = wait_for_end(row)
        assert (ended.state, ended.attempt) == (State.SUCCEEDED, 2)
        time.sleep(0.5)
        assert StoredNotice.objects.count() == 1
