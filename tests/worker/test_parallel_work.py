"""Work of one task that is spread over threads and coroutines, and loops that are left early: all of it counts."""

import asyncio
import gc
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import telltale
from telltale.core.progress import Stages
from telltale.worker.current import tracking
from telltale.worker.run import run_attempt
from telltale.worker.tracker import Tracker


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    new_tracker = Tracker()
    with tracking(new_tracker):
        yield new_tracker


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(0)
        yield number


# Loops that are left early


def count_to(number: int, of: int) -> None:
    """A loop that is left at an item."""
    for item in telltale.progress(range(of)):
        if item == number:
            break


def test_after_a_loop_that_was_left_and_whose_iterator_is_kept_the_next_one_counts(tracker: Tracker) -> None:
    kept = telltale.progress(range(10))
    for _ in kept:
        break
    for item in telltale.progress(range(100)):
        if item == 50:
            break
    assert (tracker.current, tracker.total) == (50, 100)
    assert kept is not None


def test_a_loop_over_a_kept_iterator_is_not_disturbed_by_a_loop_within_it(tracker: Tracker) -> None:
    kept = telltale.progress(range(3))
    for item in kept:
        count_to(7, of=10)
        assert (tracker.current, tracker.total) == (item, 3)


def test_a_loop_that_an_error_has_left_keeps_no_other_from_counting(tracker: Tracker) -> None:
    kept = telltale.progress(range(10))
    with pytest.raises(ZeroDivisionError):
        for _ in kept:
            raise ZeroDivisionError
    count_to(5, of=20)
    assert (tracker.current, tracker.total) == (5, 20)


@pytest.mark.parametrize("is_kept", [False, True])
def test_after_an_async_loop_that_was_left_the_next_one_counts(tracker: Tracker, is_kept: bool) -> None:
    async def work() -> None:
        kept: Any = telltale.progress(numbers(10)) if is_kept else None
        async for item in kept or telltale.progress(numbers(10)):
            if item == 2:
                break
        async for item in telltale.progress(numbers(100), total=100):
            if item == 50:
                break

    asyncio.run(work())
    assert (tracker.current, tracker.total) == (50, 100)


def test_a_loop_in_an_async_loop_is_not_counted(tracker: Tracker) -> None:
    async def work() -> None:
        async for item in telltale.progress(numbers(3), total=3):
            async for _ in telltale.progress(numbers(5), total=5):
                pass
            count_to(7, of=10)
            assert (tracker.current, tracker.total) == (item, 3)

    asyncio.run(work())
    assert (tracker.current, tracker.total) == (3, 3)


# Stages of generators that are left early


def rows() -> Iterator[int]:
    with telltale.stage("Reading", weight=0.5):
        yield from range(10)


class Loop:
    """An object that only the garbage collector frees, and with it the generator that it holds."""

    def __init__(self) -> None:
        self.itself, self.rows = self, rows()
        next(self.rows)


@pytest.fixture
def left_to_the_collector() -> Iterator[None]:
    """The garbage collector runs only where a test says so."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def collected() -> Tracker:
    """The tracker that is current after a collection."""
    gc.collect()
    return telltale.current()


def test_a_generator_that_is_finalized_late_does_not_disturb_the_task_that_runs_then(
    left_to_the_collector: None,
) -> None:
    first, second = Tracker(), Tracker()
    with tracking(first):
        Loop()
        assert first.sample().stage == "Reading"
    with tracking(second), telltale.stage("Writing", weight=0.5):
        assert collected() is second
        telltale.current().message = "Contacts"
    first.message = "Over"
    assert first.sample().stage == ""
    assert (second.sample().stage, second.sample().fraction) == ("", 0.5)
    with tracking(first):
        Loop()
    assert collected() is not first


def test_a_generator_that_is_finalized_by_another_thread_does_not_disturb_what_runs_there(
    tracker: Tracker, left_to_the_collector: None
) -> None:
    def work() -> bool:
        other = Tracker()
        with tracking(other):
            return collected() is other

    Loop()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result()
    tracker.message = "Over"
    assert tracker.sample().stage == ""


def test_a_run_in_a_generator_that_is_finalized_late_does_not_disturb_the_task_that_runs_then(
    left_to_the_collector: None,
) -> None:
    def run(kept: list[Any]) -> Iterator[None]:
        with tracking(Tracker()):
            yield kept.append(kept)

    def leave() -> None:
        kept: list[Any] = []
        kept.append(run(kept))
        next(kept[0])

    first, second = Tracker(), Tracker()
    with tracking(first):
        leave()
    with tracking(second):
        assert collected() is second


def test_a_generator_that_is_closed_where_it_was_left_gives_the_stage_around_it_back(tracker: Tracker) -> None:
    with telltale.stage("Import", weight=0.5):
        reading = rows()
        next(reading)
        reading.close()
        with telltale.stage("Writing", weight=0.5):
            pass
        assert tracker.sample().fraction == pytest.approx(0.5)
    assert telltale.current() is tracker


def test_a_generator_that_is_finalized_while_its_tracker_is_read_holds_up_neither_reader_nor_task(
    tracker: Tracker, left_to_the_collector: None
) -> None:
    class Collecting:
        def __str__(self) -> str:
            gc.collect()
            return "Contacts"

    Loop()
    tracker.message = cast("Any", Collecting())
    reader = threading.Thread(target=tracker.sample, daemon=True)
    reader.start()
    reader.join(30)
    assert not reader.is_alive()
    tracker.message = "Over"
    assert tracker.sample().stage == ""
    with telltale.stage("Writing", weight=0.5):
        assert tracker.sample().fraction == 0.5


def test_a_generator_that_outlives_its_stage_in_a_thread_ends_nothing_else_there(tracker: Tracker) -> None:
    def work() -> None:
        with telltale.stage("Part", weight=0.5) as part:
            with telltale.stage("Inner", weight=0.5):
                reading = rows()
                next(reading)
            reading.close()
            before = tracker.raw_values()
            part.message = "Contacts"
            assert tracker.raw_values() != before, "the thread's stage is watched on"

    context = copy_context()
    with telltale.stage("Import", weight=0.5), ThreadPoolExecutor(1) as pool:
        pool.submit(context.run, work).result()


# Threads


def test_advance_adds_up_from_several_threads(tracker: Tracker) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: [tracker.advance() for _ in range(500)], range(16)))
    finally:
        sys.setswitchinterval(interval)
    tracker.advance(2.5)
    assert tracker.current == 16 * 500 + 2.5


def test_outside_a_run_advance_does_nothing() -> None:
    telltale.current().advance()
    assert telltale.current().current == 0


def test_a_thread_that_copies_the_context_finds_the_tracker(tracker: Tracker) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(copy_context().run, telltale.current).result() is tracker
        assert pool.submit(telltale.current).result() is not tracker


@pytest.mark.parametrize("copies_context", [True, False])
def test_stages_of_several_threads_add_up(tracker: Tracker, copies_context: bool) -> None:
    def part(name: str, count: int) -> None:
        with tracker.stage(name, weight=1, of=4):
            fractions.extend(tracker.sample().fraction or 0 for _ in telltale.progress(range(count)))

    fractions: list[float] = []
    with telltale.stage("Import", weight=0.5), ThreadPoolExecutor(4) as pool:
        for number in range(4):
            run = copy_context().run if copies_context else lambda work, *args: work(*args)
            pool.submit(run, part, f"Part {number}", 10 * number + 1)
    assert tracker.sample().fraction == pytest.approx(0.5)
    assert 0 <= min(fractions) <= max(fractions) < 0.5
    assert telltale.current() is tracker


@pytest.mark.parametrize("report", ["advance", "stage", "sample"])
def test_a_signal_that_ends_a_task_leaves_the_lock_free(report: str) -> None:
    class TimeLimit(Exception):
        """Raised in the task wherever it is, as by Celery at its soft time limit."""

    def end(*_signal: object) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        raise TimeLimit

    def work(tracker: Tracker) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.002)
        while signal.getitimer(signal.ITIMER_VIRTUAL)[0]:
            if report == "stage":
                with tracker.stage("Part"):
                    pass
            else:
                getattr(tracker, report)()

    before = signal.signal(signal.SIGVTALRM, end)
    try:
        for _again in range(30):
            tracker = Tracker()
            with suppress(TimeLimit):
                copy_context().run(work, tracker)
            reader = threading.Thread(target=tracker.sample, daemon=True)
            reader.start()
            reader.join(30)
            assert not reader.is_alive()
    finally:
        signal.signal(signal.SIGVTALRM, before)


# Processes

FORK = """
import os, threading
import django
django.setup()
import telltale
from telltale.worker.current import tracking
from telltale.worker.tracker import Tracker

tracker, is_read, is_over = Tracker(), threading.Event(), threading.Event()

def read():
    with tracker._lock.held:
        is_read.set()
        is_over.wait()

with tracking(tracker):
    threading.Thread(target=read, daemon=True).start()
    is_read.wait()
    child = os.fork()
    if child == 0:
        with telltale.stage("Part", weight=0.5) as part:
            part.advance()
        os._exit(0)
is_over.set()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_forked_process_has_stages_also_if_the_tracker_was_being_read() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)


# Coroutines


def test_stages_in_gather_add_up(tracker: Tracker) -> None:
    seen: dict[str, tuple[float, float | None]] = {}

    async def part(name: str, count: int) -> None:
        with telltale.stage(name, weight=1, of=2) as own:
            assert telltale.current() is own
            for _ in telltale.progress(range(count), unit="rows"):
                await asyncio.sleep(0)
            seen[name] = own.current, own.total

    async def work() -> None:
        await asyncio.gather(part("A", 10), part("B", 20))

    asyncio.run(work())
    assert seen == {"A": (10, 10), "B": (20, 20)}
    assert tracker.sample().fraction == 1.0
    assert (tracker.sample().stage, tracker.sample().steps) == ("", 2)


def test_the_fraction_is_the_sum_of_all_stages_that_run(tracker: Tracker) -> None:
    async def part(name: str, current: int, is_set: asyncio.Event, is_over: asyncio.Event) -> None:
        with telltale.stage(name, weight=1, of=2) as own:
            own.current, own.total, own.unit = current, 10, "rows"
            is_set.set()
            await is_over.wait()

    async def work() -> None:
        events = [asyncio.Event() for _ in range(4)]
        part_a = asyncio.create_task(part("A", 4, events[0], events[2]))
        part_b = asyncio.create_task(part("B", 6, events[1], events[3]))
        await events[0].wait()
        await events[1].wait()
        first = tracker.sample()
        assert (first.fraction, first.stage, first.step, first.current) == (0.5, "A", 1, 4)
        events[2].set()
        await part_a
        second = tracker.sample()
        assert (second.fraction, second.stage, second.step, second.current) == (0.8, "B", 2, 6)
        events[3].set()
        await part_b

    asyncio.run(work())
    assert tracker.sample().fraction == 1.0


def test_a_stage_that_fails_beside_others_keeps_its_place_when_all_are_over(tracker: Tracker) -> None:
    async def part(name: str, count: int, error: BaseException | None) -> None:
        with telltale.stage(name, weight=1, of=2):
            for item in telltale.progress(range(count), unit="rows"):
                await asyncio.sleep(0)
                if item == 7 and error is not None:
                    raise error

    async def work() -> None:
        await asyncio.gather(part("A", 5, None), part("B", 20, ValueError("row 7")))

    with pytest.raises(ValueError, match="row 7"):
        asyncio.run(work())
    progress = tracker.sample()
    assert (progress.stage, progress.current, progress.total, progress.unit) == ("B", 7, 20, "rows")
    assert progress.fraction == pytest.approx(0.5 + 0.5 * 7 / 20)


def test_a_stage_that_outlives_the_one_around_it_changes_nothing_of_the_next(tracker: Tracker) -> None:
    async def background(is_over: asyncio.Event) -> None:
        with telltale.stage("Inner", weight=0.5):
            await is_over.wait()

    async def work() -> None:
        is_over = asyncio.Event()
        with telltale.stage("First", weight=0.5):
            task = asyncio.create_task(background(is_over))
            await asyncio.sleep(0)
        with telltale.stage("Second", weight=0.5):
            telltale.current().current, telltale.current().total = 3, 4
            is_over.set()
            await task
            assert (tracker.current, tracker.sample().stage) == (3, "Second")
            assert tracker.sample().fraction == pytest.approx(0.5 + 0.5 * 0.75)

    asyncio.run(work())
    assert tracker.sample().fraction == 1.0


@pytest.mark.django_db(transaction=True)
def test_what_parallel_stages_report_is_published(queue: Any, carried: Any) -> None:
    task = queue()

    async def part(name: str) -> None:
        with telltale.stage(name, weight=1, of=2) as own:
            for _ in telltale.progress(range(3)):
                await asyncio.sleep(0)
            if name == "B":
                own.message = "Only B reports"
                await asyncio.to_thread(carried_has_message)

    def carried_has_message() -> None:
        carried.assert_current(task, 3)

    async def work() -> None:
        await asyncio.gather(part("A"), part("B"))

    with run_attempt(task_id=task.pk):
        asyncio.run(work())
    carried.assert_ended(task)
    assert any(snapshot.progress.message == "Only B reports" for snapshot in carried.snapshots_of(task))


ACTIONS = st.lists(st.tuples(st.sampled_from(["enter", "enter parallel", "leave"]), st.integers(0, 9)), max_size=40)


@given(ACTIONS)
def test_however_stages_begin_and_end_the_fraction_never_goes_back_nor_beyond_the_whole(
    actions: list[tuple[str, int]],
) -> None:
    stages, entered, before = Stages(), [], 0.0
    for action, number in actions:
        if action == "leave" and entered:
            stages.leave(entered[number % len(entered)])
        elif action == "enter":
            entered.append(stages.enter("stage", 1, of=3))
        elif action == "enter parallel":
            parent = stages.open_ancestor(entered[number % len(entered)] if entered else None)
            entered.append(stages.enter("stage", 1, of=3, parent=parent))
        if entered:
            entered[-1].current, entered[-1].total = number, 9
        fraction = stages.sample().fraction
        if fraction is not None:
            assert before <= fraction <= 1
            before = fraction
