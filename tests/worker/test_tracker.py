"""The tracker and the public functions that use it: what they count, and what they leave unchanged."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
from django.contrib.auth.models import User

import telltale
from telltale.worker.current import tracking
from telltale.worker.tracker import Tracker


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    new_tracker = Tracker()
    with tracking(new_tracker):
        yield new_tracker


async def countdown(n: int) -> AsyncIterator[int]:
    while n:
        yield n
        n -= 1
        await asyncio.sleep(0)


def test_during_an_iteration_the_items_before_it_are_counted(tracker: Tracker) -> None:
    assert [tracker.current for _ in telltale.progress("abc")] == [0, 1, 2]
    assert tracker.current == 3


def test_the_total_is_the_length_of_the_iterable(tracker: Tracker) -> None:
    next(iter(telltale.progress(["a", "b"])))
    assert tracker.sample().total == 2


def test_a_generator_is_not_consumed_for_its_length(tracker: Tracker) -> None:
    consumed = []
    source = (consumed.append(n) or n for n in range(5))
    assert next(iter(telltale.progress(source))) == 0
    assert consumed == [0]
    assert tracker.sample().total is None


@pytest.mark.parametrize("error", [NotImplementedError, TypeError, ValueError, OverflowError, RuntimeError])
def test_a_length_that_cannot_be_told_is_unknown(tracker: Tracker, error: type[Exception]) -> None:
    class Rows:
        def __len__(self) -> int:
            raise error("not known")

        def __iter__(self) -> Iterator[int]:
            return iter([1, 2])

    assert list(telltale.progress(Rows())) == [1, 2]
    assert (tracker.current, tracker.total) == (2, None)


def test_a_given_total_is_used(tracker: Tracker) -> None:
    for _ in telltale.progress(iter("ab"), total=4, message="Reading", unit="letters"):
        pass
    progress = tracker.sample()
    assert (progress.fraction, progress.message, progress.unit) == (0.5, "Reading", "letters")


@pytest.mark.django_db
def test_a_query_set_is_counted_without_a_second_query(tracker: Tracker, django_assert_num_queries) -> None:
    User.objects.bulk_create(User(username=str(n)) for n in range(3))
    with django_assert_num_queries(1):
        names = [user.username for user in telltale.progress(User.objects.order_by("pk"))]
    assert names == ["0", "1", "2"]
    assert tracker.sample().total == 3


def test_breaking_out_of_a_loop_keeps_the_count(tracker: Tracker) -> None:
    for n in telltale.progress(range(10)):
        if n == 4:
            break
    assert tracker.current == 4


def test_an_error_in_the_loop_is_raised_and_keeps_the_count(tracker: Tracker) -> None:
    with pytest.raises(ValueError, match="here"):
        for n in telltale.progress(range(10)):
            if n == 4:
                raise ValueError("here")
    assert tracker.current == 4


def test_an_error_of_the_iterable_is_raised(tracker: Tracker) -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("in the source")

    with pytest.raises(ValueError, match="in the source"):
        list(telltale.progress(source()))


def test_while_the_next_item_is_fetched_the_items_before_it_are_counted(tracker: Tracker) -> None:
    seen = []

    def rows() -> Iterator[int]:
        for row in range(3):
            seen.append(tracker.current)
            yield row

    list(telltale.progress(rows(), total=3))
    assert seen == [0, 1, 2]


def test_the_items_before_an_error_of_the_iterable_are_counted(tracker: Tracker) -> None:
    def rows() -> Iterator[int]:
        yield from range(300)
        raise ValueError("in the source")

    with pytest.raises(ValueError, match="in the source"):
        list(telltale.progress(rows()))
    assert tracker.current == 300


def test_a_count_that_the_task_sets_in_a_loop_is_valid_until_the_next_item(tracker: Tracker) -> None:
    seen = []
    for item in telltale.progress(range(3)):
        if item == 1:
            tracker.current = 100
            tracker.advance()
        seen.append(tracker.sample().current)
    assert seen == [0, 101, 2]


def test_after_a_loop_the_task_counts_on(tracker: Tracker) -> None:
    list(telltale.progress(range(3)))
    tracker.current += 1
    tracker.advance(2)
    assert tracker.sample().current == 6


def test_the_count_of_a_loop_goes_on_after_a_stage_inside_it_that_failed(tracker: Tracker) -> None:
    seen = []
    for _ in telltale.progress(range(400)):
        with suppress(ValueError), telltale.stage("Parts"):
            list(telltale.progress(range(2)))
            raise ValueError
        seen.append(tracker.current)
    assert seen == list(range(400))
    assert tracker.sample().current == 400


def test_a_place_that_an_exception_left_inside_a_long_loop_stays_until_more_is_reported(tracker: Tracker) -> None:
    for item in telltale.progress(range(1_000)):
        if item == 900:
            with suppress(ValueError), telltale.stage("Parts"):
                tracker.current, tracker.total = 7, 9
                raise ValueError
            assert [tracker.sample().current for _ in range(3)] == [7, 7, 7]
            break


def test_a_loop_inside_a_counted_loop_is_not_counted(tracker: Tracker) -> None:
    for _ in telltale.progress(range(3)):
        list(telltale.progress(range(100)))
    assert (tracker.current, tracker.total) == (3, 3)


def test_a_loop_in_a_stage_inside_a_loop_is_counted_separately(tracker: Tracker) -> None:
    for n in telltale.progress(range(2)):
        with telltale.stage("Part"):
            list(telltale.progress("abcd"))
            assert tracker.current == 4
        assert tracker.current == n


def test_a_second_loop_counts_from_zero(tracker: Tracker) -> None:
    list(telltale.progress(range(5)))
    list(telltale.progress(range(2)))
    assert (tracker.current, tracker.total) == (2, 2)


def test_an_empty_iterable_counts_nothing(tracker: Tracker) -> None:
    assert list(telltale.progress([])) == []
    assert tracker.current == 0


def test_async_iterables_are_counted(tracker: Tracker) -> None:
    async def work() -> list[int]:
        return [tracker.current async for _ in telltale.progress(countdown(3), total=3)]

    assert asyncio.run(work()) == [0, 1, 2]
    assert tracker.current == 3


def test_a_sync_iterable_is_counted_in_a_coroutine_too(tracker: Tracker) -> None:
    async def work() -> None:
        for _ in telltale.progress(range(3)):
            await asyncio.sleep(0)

    asyncio.run(work())
    assert tracker.current == 3


def test_a_cancelled_loop_ends_before_its_next_item(tracker: Tracker) -> None:
    done = []
    with pytest.raises(telltale.Cancelled):
        for n in telltale.progress(range(10)):
            done.append(n)
            if n == 2:
                tracker.request_cancel()
    assert done == [0, 1, 2]
    assert tracker.current == 3


def test_a_loop_that_is_cancelled_before_its_first_item_has_counted_none(tracker: Tracker) -> None:
    tracker.request_cancel()
    with pytest.raises(telltale.Cancelled):
        list(telltale.progress(range(10)))
    assert (tracker.current, tracker.total) == (0, 10)


def test_a_cancelled_async_loop_ends_before_its_next_item(tracker: Tracker) -> None:
    done = []

    async def work() -> None:
        async for n in telltale.progress(countdown(10)):
            done.append(n)
            if n == 8:
                tracker.request_cancel()

    with pytest.raises(telltale.Cancelled):
        asyncio.run(work())
    assert done == [10, 9, 8]
    assert tracker.current == 3


def test_a_cancellation_waits_for_the_end_of_a_no_cancel_block(tracker: Tracker) -> None:
    with telltale.no_cancel("The firmware is being written"):
        tracker.request_cancel()
        telltale.check_cancelled()
        assert len(list(telltale.progress(range(3)))) == 3
    with pytest.raises(telltale.Cancelled):
        telltale.check_cancelled()


def test_no_cancel_blocks_nest(tracker: Tracker) -> None:
    with telltale.no_cancel("Outer"):
        with telltale.no_cancel("Inner"):
            assert tracker.no_cancel == "Inner"
        tracker.request_cancel()
        assert tracker.no_cancel == "Outer"
        telltale.check_cancelled()


def test_the_values_from_before_a_stage_return_after_it(tracker: Tracker) -> None:
    tracker.current, tracker.message = 7, "Outside"
    with telltale.stage("Inside", weight=0.5) as same:
        assert same is tracker
        tracker.current, tracker.message = 1, "Inside"
    assert (tracker.current, tracker.message) == (7, "Outside")


def test_an_error_ends_its_stage(tracker: Tracker) -> None:
    with pytest.raises(ValueError, match="here"), telltale.stage("Reading"):
        raise ValueError("here")
    tracker.message = "Without it"
    assert tracker.sample().stage == ""


def read_37_of_100(error: BaseException) -> None:
    for n in telltale.progress(range(100), message="Row by row", unit="rows"):
        if n == 37:
            raise error


@pytest.mark.parametrize("error", [ValueError("here"), telltale.Cancelled(), SystemExit(1), asyncio.CancelledError()])
def test_an_exception_that_leaves_stages_leaves_the_progress_where_it_was(
    tracker: Tracker, error: BaseException
) -> None:
    tracker.current, tracker.total = 1, 3
    with pytest.raises(type(error)), telltale.stage("Reading", weight=0.5), telltale.stage("Sheet", weight=0.5):
        read_37_of_100(error)
    progress = tracker.sample()
    assert (progress.current, progress.total, progress.unit) == (37, 100, "rows")
    assert (progress.stage, progress.message) == ("Reading", "Row by row")
    assert progress.fraction == pytest.approx(0.5 * 0.5 * 0.37)


def test_a_sample_between_an_exception_and_its_handler_does_not_raise_the_fraction(tracker: Tracker) -> None:
    with pytest.raises(ValueError, match="here"), telltale.stage("Reading", weight=0.5):
        read_37_of_100(ValueError("here"))
    assert tracker.sample().fraction == pytest.approx(0.185)
    with telltale.stage("Writing", weight=0.5):
        assert tracker.sample().fraction == 0.5


def test_progress_after_a_stage_that_failed_continues_with_the_outer_values(tracker: Tracker) -> None:
    seen = []
    for _ in telltale.progress(range(3), unit="files"):
        with suppress(ValueError), telltale.stage("File", weight=1, of=3):
            read_37_of_100(ValueError("here"))
        seen.append(tracker.sample().current)
    progress = tracker.sample()
    assert seen == [37, 37, 37]
    assert (progress.current, progress.total, progress.unit, progress.stage) == (3, 3, "files", "")
    assert progress.fraction == 1.0


def test_what_a_handler_reports_in_the_outer_stage_is_shown(tracker: Tracker) -> None:
    with pytest.raises(ValueError, match="here"), telltale.stage("Import", weight=0.5):
        try:
            with telltale.stage("Reading", weight=0.5):
                read_37_of_100(ValueError("here"))
        finally:
            tracker.message = "Removing the files"
    progress = tracker.sample()
    assert (progress.stage, progress.message, progress.current) == ("Import", "Removing the files", None)


def test_a_value_that_cannot_be_read_does_not_replace_the_exception_of_its_stage(tracker: Tracker) -> None:
    class Unreadable:
        def __str__(self) -> str:
            raise RuntimeError("unreadable")

    with pytest.raises(ValueError, match="here"), telltale.stage("Reading"):
        tracker.message = Unreadable()
        raise ValueError("here")
    assert tracker.message == ""


def test_outside_a_run_nothing_happens() -> None:
    rows = [1, 2]
    assert telltale.progress(rows) is rows
    with telltale.stage("Reading", weight=0.2), telltale.no_cancel("Never mind"):
        telltale.current().current += 1
        telltale.current().message = "Nobody reads this"
    telltale.check_cancelled()
    assert (telltale.current().current, telltale.current().message) == (0, "")


def test_after_an_inner_run_the_outer_tracker_is_current_again(tracker: Tracker) -> None:
    with tracking(Tracker()) as _:
        assert telltale.current() is not tracker
    assert telltale.current() is tracker
