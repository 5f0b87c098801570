"""The contract suite of runners: what every one of them promises, told as tests.

Subclass `RunnerContract` (and `WorkerContract`, if the runner's workers are processes of their own), and
provide the fixture `bench`: a `Bench` whose tasks wrap the functions of `Work` below. The tests need a
real database that the workers share, so they run outside of a transaction, and short durations in the
settings (LEASE_S of 3 s or less), so that a killed worker is found out in time.
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
from telltale.dispatch.runner import Ability, Redelivers, abilities
from telltale.models import TaskState

PATIENCE_S = 20.0
"""How long a test waits for what a worker should do; a slow machine needs most of it, a quick one none."""


class Work:
    """What the tasks of a bench do, each wrapped by `tracked` and the runner's own decorator.

    They write a line to `log` when they begin, so that a test can count what really ran.
    """

    @staticmethod
    def count(log: str, steps: int, pause_s: float) -> None:
        """Count to `steps`."""
        write(log, "count")
        for _ in telltale.progress(range(steps), message="Counting", unit="steps"):
            time.sleep(pause_s)
        telltale.current().result = "/counted/"

    @staticmethod
    async def count_async(log: str, steps: int) -> None:
        """Count to `steps`, as a coroutine."""
        write(log, "count_async")
        for _ in telltale.progress(range(steps), message="Counting", unit="steps"):
            await asyncio.sleep(0)

    @staticmethod
    def fail(log: str) -> None:
        """Fail with words for people."""
        write(log, "fail")
        raise telltale.TaskError("Row 7 has no name.")

    @staticmethod
    def crash(log: str) -> None:
        """Fail with an error that is nobody's business."""
        write(log, "crash")
        raise ZeroDivisionError("the secret is 42")

    @staticmethod
    def deaf(log: str) -> None:
        """Listen to nobody, for half a minute."""
        write(log, "deaf")
        time.sleep(30)

    @staticmethod
    def hold(log: str, gate: str) -> None:
        """Run until the file `gate` exists; can be cancelled."""
        write(log, "hold")
        for _ in telltale.progress(iter(lambda: Path(gate).exists(), True)):
            time.sleep(0.02)

    @staticmethod
    def rows(log: str) -> None:
        """Go on with the next row after any exception, as libraries for imports do; ten seconds if nothing ends it."""
        write(log, "rows")
        for _row in range(500):
            try:
                telltale.check_cancelled()
                time.sleep(0.02)
            except Exception:  # noqa: S112 (what such libraries do is what is tested)
                continue


class Bench(Protocol):
    """A runner with its tasks and its worker, as the suite needs them."""

    count: Any
    fail: Any
    crash: Any
    hold: Any
    rows: Any
    count_async: Any
    """Asked for if the runner runs async functions."""
    deaf: Any
    """Asked for if the runner terminates."""
    comes_again: Any
    """Asked for if the runner redelivers: a task for which it does."""

    def start(self) -> None:
        """See that a worker runs; harmless if one does."""

    def pause(self) -> None:
        """See that nothing that is enqueued from now on runs before `start`; what runs may end first."""


class ProcessBench(Bench, Protocol):
    """A bench whose worker is a process of its own."""

    def kill(self) -> None:
        """End the worker and its children as SIGKILL does: at once, with no word."""


@pytest.mark.django_db(transaction=True)
class AbilitiesContract:
    """What a runner promises that declares an ability; each test is for those alone that do."""

    def test_chooses_id(self, bench: Bench, tmp_path: Path) -> None:
        _only_if(Ability.CHOOSES_ID, bench)
        bench.pause()
        with transaction.atomic():
            row = telltale.enqueue(bench.count, str(tmp_path / "log"), 1, 0.0)
            chosen = row.runner_id
            assert chosen
        bench.start()
        assert wait_for_end(row).runner_id == chosen

    def test_bulk(self, bench: Bench, tmp_path: Path) -> None:
        _only_if(Ability.BULK, bench)
        bench.start()
        rows = telltale.enqueue_many(bench.count, [(str(tmp_path / "log"), steps, 0.0) for steps in (1, 2, 3)])
        assert [wait_for_end(row).snapshot.progress.current for row in rows] == [1, 2, 3]
        assert TaskState.objects.count() == 3
        assert len({row.runner_id for row in TaskState.objects.all()}) == 3

    def test_async(self, bench: Bench, tmp_path: Path) -> None:
        _only_if(Ability.ASYNC, bench)
        bench.start()
        row = wait_for_end(telltale.enqueue(bench.count_async, str(tmp_path / "log"), 4))
        assert (row.state, row.snapshot.progress.current, row.attempt) == (State.SUCCEEDED, 4, 1)

    def test_position(self, bench: Bench, tmp_path: Path) -> None:
        runner = _only_if(Ability.POSITION, bench)
        bench.pause()
        rows = [telltale.enqueue(bench.count, str(tmp_path / "log"), 1, 0.0) for _ in range(3)]
        assert [runner.ahead(bench.count, fresh(row).runner_id) for row in rows] == [0, 1, 2]
        bench.start()
        assert wait_for_end(rows[2]).state == State.SUCCEEDED
        assert runner.ahead(bench.count, fresh(rows[2]).runner_id) is None

    def test_listening(self, bench: Bench, tmp_path: Path) -> None:
        runner = _only_if(Ability.LISTENING, bench)
        bench.start()
        until(lambda: runner.is_listening(bench.count) is True, "its worker is heard of")
        bench.pause()
        until(lambda: runner.is_listening(bench.count) is False, "its worker is missed")
        assert runner.is_listening(bench.count) is False

    def test_revokes(self, bench: Bench, tmp_path: Path) -> None:
        runner = _only_if(Ability.REVOKES, bench)
        bench.start()
        gate = tmp_path / "gate"
        held = [telltale.enqueue(bench.hold, str(tmp_path / "held"), str(gate)) for _ in range(2)]
        until(lambda: fresh(held[0]).state == State.RUNNING, "the workers are busy")
        row = telltale.enqueue(bench.count, str(tmp_path / "log"), 1, 0.0)
        time.sleep(0.5)
        runner.revoke(bench.count, fresh(row).runner_id)
        gate.touch()
        for other in held:
            wait_for_end(other)
        after = telltale.enqueue(bench.count, str(tmp_path / "log2"), 1, 0.0)
        assert wait_for_end(after).state == State.SUCCEEDED
        assert lines(tmp_path) == []

    def test_redelivers(self, bench: Bench) -> None:
        # That it does come again, the kill of its worker shows, below; this is that it is known beforehand.
        runner = _only_if(Ability.REDELIVERS, bench)
        assert runner.redelivers(bench.comes_again) is True

    def test_terminates(self, bench: Bench, tmp_path: Path) -> None:
        _only_if(Ability.TERMINATES, bench)
        bench.start()
        row = telltale.enqueue(bench.deaf, str(tmp_path / "log"))
        until(lambda: fresh(row).state == State.RUNNING and lines(tmp_path) == ["deaf"], "it runs")
        assert cancel(row, force=True)
        assert wait_for_end(row).state == State.CANCELLED


@pytest.mark.django_db(transaction=True)
class RunnerContract(AbilitiesContract):
    """What any runner promises."""

    def test_a_task_is_queued_and_visible_before_a_worker_begins(self, bench: Bench, tmp_path: Path) -> None:
        bench.pause()
        row = telltale.enqueue(bench.count, str(tmp_path / "log"), 3, 0.0)
        time.sleep(0.3)
        assert (fresh(row).state, fresh(row).attempt) == (State.QUEUED, 1)
        assert lines(tmp_path) == []
        bench.start()
        assert wait_for_end(row).state == State.SUCCEEDED
        assert lines(tmp_path) == ["count"]

    def test_progress_is_live_and_never_goes_backwards(self, bench: Bench, tmp_path: Path) -> None:
        bench.start()
        row = telltale.enqueue(bench.count, str(tmp_path / "log"), 120, 0.03)
        seen = []
        while not (now := fresh(row).snapshot).ended:
            seen.append(now.progress.fraction)
            time.sleep(0.05)
        known = [fraction for fraction in seen if fraction is not None]
        assert len(set(known)) >= 3
        assert known == sorted(known)
        assert all(fraction < 1 for fraction in known)

    def test_a_task_ends_exactly_once_with_its_link(self, bench: Bench, tmp_path: Path) -> None:
        bench.start()
        row = wait_for_end(telltale.enqueue(bench.count, str(tmp_path / "log"), 5, 0.0))
        assert (row.state, row.attempt, row.result) == (State.SUCCEEDED, 1, "/counted/")
        assert row.snapshot.progress.fraction == 1
        time.sleep(0.3)
        assert fresh(row).snapshot == row.snapshot

    def test_a_failure_has_words_for_people(self, bench: Bench, tmp_path: Path) -> None:
        bench.start()
        row = wait_for_end(telltale.enqueue(bench.fail, str(tmp_path / "log")))
        assert (row.state, row.error) == (State.FAILED, "Row 7 has no name.")

    def test_an_unforeseen_failure_keeps_its_secrets_for_staff(self, bench: Bench, tmp_path: Path) -> None:
        bench.start()
        row = wait_for_end(telltale.enqueue(bench.crash, str(tmp_path / "log")))
        assert row.state == State.FAILED
        assert row.error
        assert "secret" not in str(row.snapshot.to_json())
        assert "the secret is 42" in row.detail

    def test_what_was_cancelled_while_queued_never_runs(self, bench: Bench, tmp_path: Path) -> None:
        bench.pause()
        row = telltale.enqueue(bench.count, str(tmp_path / "log"), 3, 0.0)
        assert cancel(row)
        assert fresh(row).state == State.CANCELLED
        bench.start()
        after = telltale.enqueue(bench.count, str(tmp_path / "log2"), 1, 0.0)
        assert wait_for_end(after).state == State.SUCCEEDED
        time.sleep(0.3)
        assert lines(tmp_path) == []
        assert fresh(row).state == State.CANCELLED

    def test_what_runs_is_asked_to_stop_and_stops(self, bench: Bench, tmp_path: Path) -> None:
        bench.start()
        row = telltale.enqueue(bench.hold, str(tmp_path / "log"), str(tmp_path / "gate"))
        until(lambda: fresh(row).state == State.RUNNING, "it runs")
        assert cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        assert not cancel(row)

    def test_a_task_that_goes_on_after_each_exception_stops_all_the_same(self, bench: Bench, tmp_path: Path) -> None:
        bench.start()
        row = telltale.enqueue(bench.rows, str(tmp_path / "log"))
        until(lambda: fresh(row).state == State.RUNNING, "it runs")
        assert cancel(row)
        assert wait_for_end(row).state == State.CANCELLED
        after = telltale.enqueue(bench.count, str(tmp_path / "log2"), 1, 0.0)
        assert wait_for_end(after).state == State.SUCCEEDED, "its worker is alive"
        assert (fresh(row).state, fresh(row).attempt) == (State.CANCELLED, 1)
        assert lines(tmp_path) == ["rows"]

    def test_a_failed_task_runs_again_as_its_second_attempt(self, bench: Bench, tmp_path: Path) -> None:
        bench.start()
        row = wait_for_end(telltale.enqueue(bench.fail, str(tmp_path / "log")))
        again = retry(row)
        assert again.attempt == 2
        until(lambda: fresh(row).ended_at is not None, "the second attempt ends")
        assert (fresh(row).state, fresh(row).attempt) == (State.FAILED, 2)
        assert lines(tmp_path) == ["fail", "fail"]

    def test_arguments_that_cant_be_kept_are_refused_before_anything_is_written(self, bench: Bench) -> None:
        before = TaskState.objects.count()
        with pytest.raises(TypeError, match="argument 1"):
            telltale.enqueue(bench.fail, object())
        assert TaskState.objects.count() == before

    def test_the_runner_finds_its_task_by_the_name_it_gave(self, bench: Bench) -> None:
        runner = runner_of(bench.count)
        assert runner.find(runner.name_of(bench.count)) == bench.count
        assert runner.find("tests.nowhere.nothing") is None

    def test_outside_a_run_the_function_is_itself(self, bench: Bench, tmp_path: Path) -> None:
        before = TaskState.objects.count()
        function: Any = runner_of(bench.count).function_of(bench.count)
        function(str(tmp_path / "log"), 3, 0.0)
        assert lines(tmp_path) == ["count"]
        assert TaskState.objects.count() == before


@pytest.mark.django_db(transaction=True)
class WorkerContract(RunnerContract):
    """What a runner with worker processes promises besides."""

    def test_a_killed_worker_is_found_out_and_its_task_runs_again(self, bench: ProcessBench, tmp_path: Path) -> None:
        bench.start()
        gate = tmp_path / "gate"
        row = telltale.enqueue(bench.hold, str(tmp_path / "log"), str(gate))
        until(lambda: fresh(row).state == State.RUNNING and lines(tmp_path) == ["hold"], "it runs")
        bench.kill()
        healths = set()
        while (now := fresh(row)).state == State.RUNNING:
            healths.add(health(now.snapshot, now=store.now(), limits=conf.settings().limits))
            time.sleep(0.05)
        assert Health.STALLED in healths
        assert now.state == State.LOST
        bench.start()
        gate.touch()
        if not _comes_again_by_itself(bench.hold):
            retry(now)
        until(lambda: fresh(row).attempt == 2, "its second attempt is there")
        assert wait_for_end(row).state == State.SUCCEEDED
        assert lines(tmp_path) == ["hold", "hold"]

    def test_a_worker_that_is_told_to_stop_finishes_what_it_runs(self, bench: ProcessBench, tmp_path: Path) -> None:
        bench.start()
        row = telltale.enqueue(bench.count, str(tmp_path / "log"), 30, 0.03)
        until(lambda: fresh(row).state == State.RUNNING, "it runs")
        bench.pause()
        assert (fresh(row).state, fresh(row).attempt) == (State.SUCCEEDED, 1)
        assert fresh(row).snapshot.progress.current == 30

    def test_a_killed_worker_is_missed_though_it_took_no_leave(self, bench: ProcessBench) -> None:
        runner = _only_if(Ability.LISTENING, bench)
        bench.start()
        until(lambda: runner.is_listening(bench.count) is True, "its worker is heard of")
        bench.kill()
        until(lambda: runner.is_listening(bench.count) is False, "its worker is missed")
        assert runner.is_listening(bench.count) is False


def _only_if(ability: Ability, bench: Bench) -> Any:
    """The runner, if it has the ability; else there is nothing to test."""
    runner = runner_of(bench.count)
    if ability not in abilities(runner):
        pytest.skip(f"{runner.name} does not declare it: {ability.value}")
    return runner


def _comes_again_by_itself(task: object) -> bool:
    runner = runner_of(task)
    return isinstance(runner, Redelivers) and runner.redelivers(task)


def write(log: str, line: str) -> None:
    """Append a line: a trace of a run that outlives its process."""
    with Path(log).open("a") as file:
        file.write(f"{line}\n")


def lines(tmp_path: Path) -> list[str]:
    """What the runs that were given `tmp_path / "log"` have written there."""
    with suppress(FileNotFoundError):
        return (tmp_path / "log").read_text().split()
    return []


def fresh(row: TaskState) -> TaskState:
    """As a reader sees it: the read itself finds out what has been lost."""
    found = store.get_task(row.pk)
    assert found is not None
    return found


def wait_for_end(row: TaskState) -> TaskState:
    """The row once it has ended."""
    until(lambda: fresh(row).ended_at is not None, "it ends")
    return fresh(row)


def until(true: Callable[[], bool], what: str, *, patience_s: float = PATIENCE_S) -> None:
    """Wait for it, or fail and say in vain for what."""
    patience = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < patience, f"Waited {patience_s:.0f} s in vain until {what}."
        time.sleep(0.03)
