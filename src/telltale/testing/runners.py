"""The contract suite of runners: the promises that every runner keeps, as tests.

Write tasks for your runner that wrap `TaskFunctions`, subclass `RunnerContract`, and provide the fixture `worker`: a
`Worker`. If the runner's workers are processes of their own, subclass `WorkerProcessContract` instead; its fixture
provides a `WorkerProcess`. The tests of an ability run for the runners that have it.

The worker shares the tests' database, so the tests run outside of a transaction. Set `LEASE_S` to 5 s or so for the
tests and for the worker, because a killed worker is noticed when its lease expires.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import pytest
from django.db import transaction

import telltale
from telltale import conf, store
from telltale.core.health import health
from telltale.core.states import Health, State
from telltale.dispatch.control import cancel, retry
from telltale.dispatch.registry import runner_of
from telltale.dispatch.runner import Ability, KnowsMessages, Redelivers, abilities
from telltale.models import TaskState

TIMEOUT_S = 40.0
"""How long a test waits for an expected event; a slow machine needs most of it, a fast one almost nothing."""


class TaskFunctions:
    """The functions that your tasks wrap, beneath `tracked` and the runner's own decorator.

    Each starts by adding its name as a line to the file `log`, so that a test can count the runs.
    """

    @staticmethod
    def count(log: str, steps: int, pause_s: float) -> None:
        """Count to `steps`, with a pause of `pause_s` before each."""
        append_line(log, "count")
        for _ in telltale.progress(range(steps), message="Counting", unit="steps"):
            time.sleep(pause_s)
        telltale.current().result = "/counted/"

    @staticmethod
    async def count_async(log: str, steps: int) -> None:
        """Count to `steps` in a coroutine."""
        append_line(log, "count_async")
        for _ in telltale.progress(range(steps), message="Counting", unit="steps"):
            await asyncio.sleep(0)

    @staticmethod
    def fail(log: str) -> None:
        """Fail with a text for people."""
        append_line(log, "fail")
        raise telltale.TaskError("Row 7 has no name.")

    @staticmethod
    def crash(log: str) -> None:
        """Fail with an error that only staff may see."""
        append_line(log, "crash")
        raise ZeroDivisionError("the secret is 42")

    @staticmethod
    def sleep(log: str) -> None:
        """Sleep for half a minute, without a check for cancellation."""
        append_line(log, "sleep")
        time.sleep(30)

    @staticmethod
    def wait_for_file(log: str, file: str) -> None:
        """Run until `file` exists; checks for cancellation every 20 ms."""
        append_line(log, "wait_for_file")
        for _ in telltale.progress(iter(lambda: Path(file).exists(), True)):
            time.sleep(0.02)

    @staticmethod
    def catch_exceptions(log: str) -> None:
        """Continue with the next row after any exception, as import libraries do. Takes ten seconds."""
        append_line(log, "catch_exceptions")
        for _row in range(500):
            try:
                telltale.check_cancelled()
                time.sleep(0.02)
            except Exception:  # noqa: S112 (the contract is about libraries that do this)
                continue


class Tasks(Protocol):
    """Your runner's tasks, such as a module in which they are defined. Each wraps the function of the same name."""

    count: Any
    fail: Any
    crash: Any
    wait_for_file: Any
    catch_exceptions: Any
    # Only if the runner has the ability `ASYNC`: `count_async`. Only with `TERMINATES`: `sleep`. Only with
    # `REDELIVERS`: `redelivered`, which wraps `wait_for_file`, and for which `Redelivers.redelivers` is true.


class Worker(Protocol):
    """A worker of the runner, for the fixture `worker`."""

    @property
    def tasks(self) -> Any:
        """The runner's tasks: `Tasks`."""

    def start(self) -> None:
        """Return once a worker runs and takes tasks. Harmless if one does."""

    def pause(self) -> None:
        """Return once no task that is enqueued from now on can run before `start`. Running tasks may finish first."""


class WorkerProcess(Worker, Protocol):
    """A worker that is a process of its own. Its `pause` stops the process as an operator would, such as by SIGTERM."""

    def kill(self) -> None:
        """End the process and its children at once, by SIGKILL."""


@pytest.mark.django_db(transaction=True)
class AbilitiesContract:
    """The promises of each ability; a test runs if the runner has the ability."""

    def test_a_queued_row_has_the_id_under_which_the_task_runs(self, worker: Worker, tmp_path: Path) -> None:
        _skip_without(Ability.CHOOSES_ID, worker)
        worker.pause()
        with transaction.atomic():
            row = telltale.enqueue(worker.tasks.count, str(tmp_path / "log"), 1, 0.0)
            chosen_id = row.runner_id
            assert chosen_id
        worker.start()
        assert wait_for_end(row).runner_id == chosen_id

    def test_tasks_that_are_enqueued_in_one_call_all_run(self, worker: Worker, tmp_path: Path) -> None:
        _skip_without(Ability.BULK, worker)
        worker.start()
        calls = [(str(tmp_path / "log"), steps, 0.0) for steps in (1, 2, 3)]
        rows = telltale.enqueue_many(worker.tasks.count, calls)
        assert [wait_for_end(row).snapshot.progress.current for row in rows] == [1, 2, 3]
        assert TaskState.objects.count() == 3
        assert len({row.runner_id for row in TaskState.objects.all()}) == 3

    def test_an_async_function_reports_progress_and_ends(self, worker: Worker, tmp_path: Path) -> None:
        _skip_without(Ability.ASYNC, worker)
        worker.start()
        row = wait_for_end(telltale.enqueue(worker.tasks.count_async, str(tmp_path / "log"), 4))
        assert (row.state, row.snapshot.progress.current, row.attempt) == (State.SUCCEEDED, 4, 1)

    def test_a_waiting_task_has_a_position_in_the_queue(self, worker: Worker, tmp_path: Path) -> None:
        runner = _skip_without(Ability.POSITION, worker)
        worker.pause()
        task = worker.tasks.count
        rows = [telltale.enqueue(task, str(tmp_path / "log"), 1, 0.0) for _ in range(3)]
        assert [runner.ahead(task, reload(row).runner_id) for row in rows] == [0, 1, 2]
        worker.start()
        assert wait_for_end(rows[2]).state == State.SUCCEEDED
        assert runner.ahead(task, reload(rows[2]).runner_id) is None

    def test_a_worker_that_starts_or_stops_is_noticed(self, worker: Worker) -> None:
        runner = _skip_without(Ability.LISTENING, worker)
        worker.start()
        wait_until(lambda: runner.is_listening(worker.tasks.count) is True, "the worker is listening")
        worker.pause()
        wait_until(lambda: runner.is_listening(worker.tasks.count) is False, "the worker is gone")
        assert runner.is_listening(worker.tasks.count) is False

    def test_a_revoked_task_never_runs(self, worker: Worker, tmp_path: Path) -> None:
        runner = _skip_without(Ability.REVOKES, worker)
        worker.start()
        file = tmp_path / "file"
        blocking = [
            telltale.enqueue(worker.tasks.wait_for_file, str(tmp_path / "log_of_blocking"), str(file)) for _ in range(2)
        ]
        wait_until(lambda: reload(blocking[0]).state == State.RUNNING, "the worker is busy")
        row = telltale.enqueue(worker.tasks.count, str(tmp_path / "log"), 1, 0.0)
        time.sleep(0.5)
        runner.revoke(worker.tasks.count, reload(row).runner_id)
        file.touch()
        for blocking_row in blocking:
            wait_for_end(blocking_row)
        later = telltale.enqueue(worker.tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert wait_for_end(later).state == State.SUCCEEDED
        assert logged_lines(tmp_path) == []

    def test_the_runner_knows_that_it_would_redeliver_a_task(self, worker: Worker) -> None:
        # `test_the_task_of_a_killed_worker_is_lost_and_runs_again` tests that it does.
        runner = _skip_without(Ability.REDELIVERS, worker)
        assert runner.redelivers(worker.tasks.redelivered) is True

    def test_a_task_that_does_not_check_for_cancellation_is_terminated(self, worker: Worker, tmp_path: Path) -> None:
        _skip_without(Ability.TERMINATES, worker)
        worker.start()
        row = telltale.enqueue(worker.tasks.sleep, str(tmp_path / "log"))
        wait_until(lambda: reload(row).state == State.RUNNING and logged_lines(tmp_path) == ["sleep"], "it runs")
        assert cancel(row, force=True)
        assert wait_for_end(row).state == State.CANCELLED


@pytest.mark.django_db(transaction=True)
class RunnerContract(AbilitiesContract):
    """The promises of every runner."""

    def test_a_queued_task_is_visible_before_a_worker_starts_it_and_has_a_message_until_then(
        self, worker: Worker, tmp_path: Path
    ) -> None:
        worker.pause()
        row = telltale.enqueue(worker.tasks.count, str(tmp_path / "log"), 3, 0.0)
        time.sleep(0.3)
        assert (reload(row).state, reload(row).attempt) == (State.QUEUED, 1)
        assert logged_lines(tmp_path) == []
        _await_message(worker, row, expected=True)
        worker.start()
        assert wait_for_end(row).state == State.SUCCEEDED
        assert logged_lines(tmp_path) == ["count"]
        _await_message(worker, row, expected=False)

    def test_progress_is_live_and_never_goes_backwards(self, worker: Worker, tmp_path: Path) -> None:
        worker.start()
        row = telltale.enqueue(worker.tasks.count, str(tmp_path / "log"), 2_000, 0.03)
        fractions: list[float] = []

        def are_different() -> bool:
            fraction = reload(row).snapshot.progress.fraction
            fractions.extend([] if fraction is None else [fraction])
            return len(set(fractions)) >= 4

        wait_until(are_different, "different fractions are read")
        assert cancel(row)
        fractions.append(wait_for_end(row).snapshot.progress.fraction or 0.0)
        assert fractions == sorted(fractions)
        assert fractions[-1] < 1

    def test_a_task_ends_exactly_once_with_its_result(self, worker: Worker, tmp_path: Path) -> None:
        worker.start()
        row = wait_for_end(telltale.enqueue(worker.tasks.count, str(tmp_path / "log"), 5, 0.0))
        assert (row.state, row.attempt, row.result) == (State.SUCCEEDED, 1, "/counted/")
        assert row.snapshot.progress.fraction == 1
        time.sleep(0.3)
        assert reload(row).snapshot == row.snapshot

    def test_a_task_error_is_shown_as_it_is(self, worker: Worker, tmp_path: Path) -> None:
        worker.start()
        row = wait_for_end(telltale.enqueue(worker.tasks.fail, str(tmp_path / "log")))
        assert (row.state, row.error) == (State.FAILED, "Row 7 has no name.")

    def test_the_text_of_any_other_error_is_for_staff_only(self, worker: Worker, tmp_path: Path) -> None:
        worker.start()
        row = wait_for_end(telltale.enqueue(worker.tasks.crash, str(tmp_path / "log")))
        assert row.state == State.FAILED
        assert row.error
        assert "secret" not in str(row.snapshot.to_json())
        assert "the secret is 42" in row.detail

    def test_a_task_that_is_cancelled_while_queued_never_runs(self, worker: Worker, tmp_path: Path) -> None:
        worker.pause()
        row = telltale.enqueue(worker.tasks.count, str(tmp_path / "log"), 3, 0.0)
        assert cancel(row)
        assert reload(row).state == State.CANCELLED
        worker.start()
        later = telltale.enqueue(worker.tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert wait_for_end(later).state == State.SUCCEEDED
        time.sleep(0.3)
        assert logged_lines(tmp_path) == []
        assert reload(row).state == State.CANCELLED

    def test_a_running_task_that_is_cancelled_stops(self, worker: Worker, tmp_path: Path) -> None:
        worker.start()
        row = telltale.enqueue(worker.tasks.wait_for_file, str(tmp_path / "log"), str(tmp_path / "file"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        assert cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        assert not cancel(row)

    def test_a_task_that_catches_all_exceptions_stops_when_it_is_cancelled(
        self, worker: Worker, tmp_path: Path
    ) -> None:
        worker.start()
        row = telltale.enqueue(worker.tasks.catch_exceptions, str(tmp_path / "log"))
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        assert cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        later = telltale.enqueue(worker.tasks.count, str(tmp_path / "log_of_later"), 1, 0.0)
        assert wait_for_end(later).state == State.SUCCEEDED, "the worker still runs"
        assert (reload(row).state, reload(row).attempt) == (State.CANCELLED, 1)
        assert logged_lines(tmp_path) == ["catch_exceptions"]

    def test_a_failed_task_that_is_retried_runs_as_its_second_attempt(self, worker: Worker, tmp_path: Path) -> None:
        worker.start()
        row = wait_for_end(telltale.enqueue(worker.tasks.fail, str(tmp_path / "log")))
        assert retry(row).attempt == 2
        wait_until(lambda: reload(row).ended_at is not None, "the second attempt ends")
        assert (reload(row).state, reload(row).attempt) == (State.FAILED, 2)
        assert logged_lines(tmp_path) == ["fail", "fail"]

    def test_arguments_that_are_not_json_are_refused_and_nothing_is_written(self, worker: Worker) -> None:
        count_before = TaskState.objects.count()
        with pytest.raises(TypeError, match="argument 1"):
            telltale.enqueue(worker.tasks.fail, object())
        assert TaskState.objects.count() == count_before

    def test_the_runner_finds_its_task_by_the_name_it_gave(self, worker: Worker) -> None:
        runner = runner_of(worker.tasks.count)
        assert runner.find(runner.name_of(worker.tasks.count)) == worker.tasks.count
        assert runner.find("tests.no_such_module.no_such_task") is None

    def test_a_plain_call_of_the_function_is_no_run(self, worker: Worker, tmp_path: Path) -> None:
        count_before = TaskState.objects.count()
        function: Any = runner_of(worker.tasks.count).function_of(worker.tasks.count)
        function(str(tmp_path / "log"), 3, 0.0)
        assert logged_lines(tmp_path) == ["count"]
        assert TaskState.objects.count() == count_before


@pytest.mark.django_db(transaction=True)
class WorkerProcessContract(RunnerContract):
    """The further promises of a runner whose workers are processes of their own."""

    def test_the_task_of_a_killed_worker_is_lost_and_runs_again(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        file, task = tmp_path / "file", worker.tasks.wait_for_file
        row = telltale.enqueue(task, str(tmp_path / "log"), str(file))
        wait_until(
            lambda: reload(row).state == State.RUNNING and logged_lines(tmp_path) == ["wait_for_file"], "it runs"
        )
        worker.kill()
        snapshot, limits = TaskState.objects.get(pk=row.pk).snapshot, conf.settings().limits
        assert health(snapshot, now=(snapshot.beat_at or 0.0) + limits.stalled_s + 0.1, limits=limits) is Health.STALLED
        wait_until(lambda: reload(row).state == State.LOST, "it is lost")
        lost = reload(row)
        lost_attempt = lost.attempt
        worker.start()
        file.touch()
        if not _redelivers(task):
            retry(lost)
        wait_until(lambda: reload(row).attempt == lost_attempt + 1, "another attempt exists")
        assert wait_for_end(row).state == State.SUCCEEDED
        assert logged_lines(tmp_path) == ["wait_for_file", "wait_for_file"]

    def test_a_worker_that_is_stopped_finishes_its_task_first(self, worker: WorkerProcess, tmp_path: Path) -> None:
        worker.start()
        row = telltale.enqueue(worker.tasks.count, str(tmp_path / "log"), 30, 0.03)
        wait_until(lambda: reload(row).state == State.RUNNING, "it runs")
        worker.pause()
        assert (reload(row).state, reload(row).attempt) == (State.SUCCEEDED, 1)
        assert reload(row).snapshot.progress.current == 30

    def test_a_worker_that_is_killed_is_no_longer_listening(self, worker: WorkerProcess) -> None:
        runner = _skip_without(Ability.LISTENING, worker)
        worker.start()
        wait_until(lambda: runner.is_listening(worker.tasks.count) is True, "the worker is listening")
        worker.kill()
        wait_until(lambda: runner.is_listening(worker.tasks.count) is False, "the worker is gone")
        assert runner.is_listening(worker.tasks.count) is False


def _skip_without(ability: Ability, worker: Worker) -> Any:
    """Return the runner if it has the ability; else skip the test."""
    runner = runner_of(worker.tasks.count)
    if ability not in abilities(runner):
        pytest.skip(f"{runner.name} has no such ability: {ability.value}")
    return runner


def _await_message(worker: Worker, row: TaskState, *, expected: bool) -> None:
    """Wait until the runner says whether it has the task's message, if it knows that (`Ability.MESSAGES`)."""
    task = worker.tasks.count
    runner = runner_of(task)
    if isinstance(runner, KnowsMessages):
        runner_id = str(reload(row).runner_id)
        wait_until(lambda: runner.has_message(task, runner_id) is expected, f"it has its message: {expected}")


def _redelivers(task: object) -> bool:
    runner = runner_of(task)
    return isinstance(runner, Redelivers) and runner.redelivers(task)


# Helpers, also for your own tests


def append_line(log: str, line: str) -> None:
    """Append a line to the file `log`, which outlives the worker's process."""
    with Path(log).open("a") as file:
        file.write(f"{line}\n")


def logged_lines(tmp_path: Path) -> list[str]:
    """The lines of the file `tmp_path / "log"`; none if there is no such file."""
    with suppress(FileNotFoundError):
        return (tmp_path / "log").read_text().split()
    return []


def reload(row: TaskState) -> TaskState:
    """The row as a page would read it now: the read also marks the task as lost if its lease has expired."""
    found = store.get_task(row.pk)
    assert found is not None
    return found


def wait_for_end(row: TaskState) -> TaskState:
    """Wait until the task has ended; returns its row."""
    wait_until(lambda: reload(row).ended_at is not None, "it ends")
    return reload(row)


def wait_until(condition: Callable[[], bool], description: str, *, timeout_s: float = TIMEOUT_S) -> None:
    """Wait until `condition()` is true. After `timeout_s`, fail with `description`."""
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at, f"Waited {timeout_s:.0f} s in vain until {description}."
        time.sleep(0.03)
