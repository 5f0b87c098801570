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
from tests.app import celery_app, celery_tasks
from tests.runners.benches import ProcessBench, celery_command, storing_results_in
from tests.runners.conftest import Start
from tests.runners.watching import ended, fresh, lines, until
from tests.servers import Redis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.service]

TOO_LONG = "The task took too long and was stopped."


class TestLimits:
    def test_a_soft_limit_is_told_in_words(self, celery_bench: ProcessBench, tmp_path: Path) -> None:
        celery_bench.start()
        row = ended(telltale.enqueue(celery_tasks.outlast, str(tmp_path / "log")))
        assert (row.state, row.error) == (State.FAILED, TOO_LONG)

    def test_a_hard_limit_is_told_once_in_the_same_words(self, celery_bench: ProcessBench, tmp_path: Path) -> None:
        celery_bench.start()
        ada = User.objects.create_user("ada")
        row = ended(telltale.enqueue(celery_tasks.outlast_all, str(tmp_path / "log"), owner=ada))
        assert (row.state, row.error) == (State.FAILED, TOO_LONG)
        time.sleep(0.5)
        assert StoredNotice.objects.count() == 1

    @pytest.mark.parametrize(("requeue", "state", "attempt"), [(False, State.FAILED, 1), (True, State.SUCCEEDED, 2)])
    def test_a_rejected_task_has_failed_or_comes_again(
        self, celery_bench: ProcessBench, tmp_path: Path, requeue: bool, state: State, attempt: int
    ) -> None:
        celery_bench.start()
        row = telltale.enqueue(celery_tasks.reject, str(tmp_path / "log"), requeue)
        assert (ended(row).state, ended(row).attempt) == (state, attempt)

    def test_an_automatic_retry_with_a_back_off_is_shown_as_retrying(
        self, celery_bench: ProcessBench, tmp_path: Path
    ) -> None:
        celery_bench.start()
        row = telltale.enqueue(celery_tasks.back_off, str(tmp_path / "log"))
        until(lambda: fresh(row).due_at is not None, "it is retrying, and says when")
        assert (fresh(row).state, fresh(row).due_at) == (State.RETRYING, pytest.approx(store.now() + 2, abs=2))
        assert (ended(row).state, ended(row).attempt) == (State.FAILED, 2)


class TestCalls:
    def test_a_countdown_says_when_it_is_due(self, celery_bench: ProcessBench, tmp_path: Path) -> None:
        celery_bench.start()
        celery_tasks.count.apply_async((str(tmp_path / "log"), 1, 0.0), countdown=1.5)
        row = TaskState.objects.get()
        assert (row.state, row.due_at) == (State.QUEUED, pytest.approx(store.now() + 1.5, abs=0.5))
        assert (ended(row).state, ended(row).due_at) == (State.SUCCEEDED, None)

    def test_the_members_and_the_body_of_a_chord_belong_to_whoever_asked(
        self, celery_bench: ProcessBench, start: Start, tmp_path: Path
    ) -> None:
        celery_bench.pause()  # It stores no results, and would take members all the same.
        ada, log = User.objects.create_user("ada"), str(tmp_path / "log")
        bench = next(start(celery_tasks, celery_command(), " ready.", CELERY_RESULTS="django-db"))
        try:
            with storing_results_in("django-db"):
                bench.start()
                with owned_by(ada):
                    chord(
                        group(celery_tasks.count.si(log, n, 0.0) for n in (1, 2, 3)), celery_tasks.add_up.s(log)
                    ).delay()
                until(lambda: TaskState.objects.filter(state=State.SUCCEEDED).count() == 4, "members and body have run")
        finally:
            bench.kill()
        assert {row.owner for row in TaskState.objects.all()} == {ada}

    def test_a_date_says_when_it_is_due(self, celery_bench: ProcessBench, tmp_path: Path) -> None:
        celery_bench.start()
        due = datetime.now(UTC) + timedelta(hours=1)
        celery_tasks.count.apply_async((str(tmp_path / "log"), 1, 0.0), eta=due)
        row = TaskState.objects.get()
        assert (row.state, row.due_at) == (State.QUEUED, pytest.approx(due.timestamp(), abs=0.01))
        assert telltale.cancel(row)

    def test_a_group_has_a_bar_for_each_unless_asked_for_one(self, celery_bench: ProcessBench, tmp_path: Path) -> None:
        celery_bench.start()
        group(celery_tasks.count.si(str(tmp_path / "log"), n, 0.0) for n in (1, 2, 3)).delay()
        rows = list(TaskState.objects.all())
        assert [(ended(row).state, ended(row).label) for row in rows] == [(State.SUCCEEDED, "Count")] * 3


class TestDeaths:
    def test_a_killed_childs_task_comes_again_where_the_task_wants_that(
        self, celery_bench: ProcessBench, tmp_path: Path
    ) -> None:
        celery_bench.start()
        row = telltale.enqueue(celery_tasks.die_once, str(tmp_path / "log"))
        until(lambda: fresh(row).state == State.SUCCEEDED, "it has come again")
        assert (fresh(row).attempt, lines(tmp_path)) == (2, ["die_once", "die_once"])

    def test_a_cold_shutdown_leaves_no_spinner(self, celery_bench: ProcessBench, tmp_path: Path) -> None:
        celery_bench.start()
        row = telltale.enqueue(celery_tasks.hold, str(tmp_path / "log"), str(tmp_path / "gate"))
        until(lambda: fresh(row).state == State.RUNNING, "it runs")
        celery_bench.send(signal.SIGQUIT)
        until(lambda: not celery_bench.is_alive(), "the worker is gone")
        assert ended(row).state in {State.LOST, State.FAILED}

    def test_a_terminated_task_is_cancelled_by_its_parents_word(
        self, celery_bench: ProcessBench, tmp_path: Path
    ) -> None:
        celery_bench.start()
        row = telltale.enqueue(celery_tasks.hold, str(tmp_path / "log"), str(tmp_path / "gate"))
        until(lambda: fresh(row).state == State.RUNNING, "it runs")
        celery_app.control.revoke(fresh(row).runner_id, terminate=True)
        assert ended(row).state == State.CANCELLED

    def test_a_worker_that_is_paused_beyond_its_lease_overwrites_nothing_when_it_wakes(
        self, celery_bench: ProcessBench, start: Start, tmp_path: Path
    ) -> None:
        celery_bench.start()
        gate = tmp_path / "gate"
        row = telltale.enqueue(celery_tasks.hold, str(tmp_path / "log"), str(gate))
        until(lambda: lines(tmp_path) == ["hold"], "it runs")
        celery_bench.send(signal.SIGSTOP, to_all=True)
        until(lambda: fresh(row).state == State.LOST, "it is lost")
        other = next(start(celery_tasks, celery_command("-n", "other@%h"), " ready."))
        try:
            other.start()
            telltale.retry(fresh(row))
            until(lambda: lines(tmp_path) == ["hold", "hold"], "its second attempt runs")
            celery_bench.send(signal.SIGCONT, to_all=True)
            time.sleep(1.5)
            assert (fresh(row).state, fresh(row).attempt) == (State.RUNNING, 2)
            gate.touch()
            assert (ended(row).state, ended(row).attempt) == (State.SUCCEEDED, 2)
            time.sleep(1.0)
            assert (fresh(row).state, fresh(row).attempt) == (State.SUCCEEDED, 2)
        finally:
            other.kill()


@pytest.fixture
def impatient(redis: Redis, start: Start) -> Iterator[Callable[[], ProcessBench]]:
    """Workers of a Redis that delivers a message again after two seconds without an acknowledgement."""
    redis.forget()
    made: list[ProcessBench] = []

    def another() -> ProcessBench:
        command = celery_command("-n", f"w{len(made)}@%h", children=1)
        made.append(next(start(celery_tasks, command, " ready.", CELERY_VISIBLE_S="2")))
        made[-1].start()
        return made[-1]

    yield another
    for bench in made:
        bench.kill()


class TestRedelivery:
    def test_a_killed_workers_task_is_delivered_again_as_its_second_attempt(
        self, impatient: Callable[[], ProcessBench], tmp_path: Path
    ) -> None:
        celery = runner_of(celery_tasks.hold_late)
        assert isinstance(celery, Redelivers)
        assert (celery.redelivers(celery_tasks.hold_late), celery.redelivers(celery_tasks.hold)) == (True, False)
        first, gate = impatient(), tmp_path / "gate"
        row = telltale.enqueue(celery_tasks.hold_late, str(tmp_path / "log"), str(gate))
        until(lambda: lines(tmp_path) == ["hold"], "it runs")
        first.kill()
        impatient()
        until(lambda: lines(tmp_path) == ["hold", "hold"], "it has come again")
        gate.touch()
        assert (ended(row).state, ended(row).attempt) == (State.SUCCEEDED, 2)

    def test_of_two_workers_that_run_it_at_once_the_newer_attempt_tells_its_end(
        self, impatient: Callable[[], ProcessBench], tmp_path: Path
    ) -> None:
        ada, gate = User.objects.create_user("ada"), tmp_path / "gate"
        impatient()
        row = telltale.enqueue(celery_tasks.hold_late, str(tmp_path / "log"), str(gate), owner=ada)
        until(lambda: lines(tmp_path) == ["hold"], "it runs")
        impatient()
        until(lambda: len(lines(tmp_path)) == 2, "it runs twice")
        until(lambda: fresh(row).attempt == 2, "the second attempt owns it")
        gate.touch()
        assert (ended(row).state, ended(row).attempt) == (State.SUCCEEDED, 2)
        time.sleep(0.5)
        assert StoredNotice.objects.count() == 1
