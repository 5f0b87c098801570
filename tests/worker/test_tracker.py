"""The handle inside a task, and the calls that use it: what they count, and what they leave alone."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from django.contrib.auth.models import User

import telltale
from telltale.worker.tracker import Tracker, tracking


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    it = Tracker()
    with tracking(it):
        yield it


async def countdown(n: int) -> AsyncIterator[int]:
    while n:
        yield n
        n -= 1
        await asyncio.sleep(0)


def test_while_an_item_is_out_those_before_it_are_done(tracker: Tracker) -> None:
    assert [tracker.current for _ in telltale.progress("abc")] == [0, 1, 2]
    assert tracker.current == 3


def test_the_length_is_asked_where_there_is_one(tracker: Tracker) -> None:
    next(iter(telltale.progress(["a", "b"])))
    assert tracker.sample().total == 2


def test_a_generator_is_not_consumed_for_its_length(tracker: Tracker) -> None:
    drawn = []
    source = (drawn.append(n) or n for n in range(5))
    assert next(iter(telltale.progress(source))) == 0
    assert drawn == [0]
    assert tracker.sample().total is None


def test_a_total_that_is_given_is_believed(tracker: Tracker) -> None:
    for _ in telltale.progress(iter("ab"), total=4, message="Reading", unit="letters"):
        pass
    progress = tracker.sample()
    assert (progress.fraction, progress.message, progress.unit) == (0.5, "Reading", "letters")


@pytest.mark.django_db
def test_a_query_set_tells_its_length_in_the_one_query_that_it_needs(
    tracker: Tracker, django_assert_num_queries
) -> None:
    User.objects.bulk_create(User(username=str(n)) for n in range(3))
    with django_assert_num_queries(1):
        names = [user.username for user in telltale.progress(User.objects.order_by("pk"))]
    assert names == ["0", "1", "2"]
    assert tracker.sample().total == 3


def test_leaving_a_loop_early_keeps_the_count(tracker: Tracker) -> None:
    for n in telltale.progress(range(10)):
        if n == 4:
            break
    assert tracker.current == 4


def test_an_error_in_the_loop_passes_and_keeps_the_count(tracker: Tracker) -> None:
    with pytest.raises(ValueError, match="here"):
        for n in telltale.progress(range(10)):
            if n == 4:
                raise ValueError("here")
    assert tracker.current == 4


def test_the_iterables_own_error_passes(tracker: Tracker) -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("in the source")

    with pytest.raises(ValueError, match="in the source"):
        list(telltale.progress(source()))


def test_a_loop_inside_a_counted_loop_is_not_counted_by_itself(tracker: Tracker) -> None:
    for _ in telltale.progress(range(3)):
        list(telltale.progress(range(100)))
    assert (tracker.current, tracker.total) == (3, 3)


def test_a_stage_inside_a_loop_counts_for_itself(tracker: Tracker) -> None:
    for n in telltale.progress(range(2)):
        with telltale.stage("Part"):
            list(telltale.progress("abcd"))
            assert tracker.current == 4
        assert tracker.current == n


def test_one_loop_after_another_begins_anew(tracker: Tracker) -> None:
    list(telltale.progress(range(5)))
    list(telltale.progress(range(2)))
    assert (tracker.current, tracker.total) == (2, 2)


def test_an_empty_iterable_is_done_at_once(tracker: Tracker) -> None:
    assert list(telltale.progress([])) == []
    assert tracker.current == 0


def test_async_iterables_are_counted(tracker: Tracker) -> None:
    async def work() -> list[int]:
        return [tracker.current async for _ in telltale.progress(countdown(3), total=3)]

    assert asyncio.run(work()) == [0, 1, 2]
    assert tracker.current == 3


def test_a_plain_iterable_is_counted_in_a_coroutine_too(tracker: Tracker) -> None:
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


def test_cancelling_waits_for_the_end_of_what_forbids_it(tracker: Tracker) -> None:
    with telltale.no_cancel("The firmware is being written"):
        tracker.request_cancel()
        telltale.check_cancelled()
        assert len(list(telltale.progress(range(3)))) == 3
    with pytest.raises(telltale.Cancelled):
        telltale.check_cancelled()


def test_what_forbids_cancelling_nests(tracker: Tracker) -> None:
    with telltale.no_cancel("Outer"):
        with telltale.no_cancel("Inner"):
            assert tracker.no_cancel == "Inner"
        tracker.request_cancel()
        assert tracker.no_cancel == "Outer"
        telltale.check_cancelled()


def test_stages_keep_what_was_set_around_them(tracker: Tracker) -> None:
    tracker.current, tracker.message = 7, "Outside"
    with telltale.stage("Inside", weight=0.5) as same:
        assert same is tracker
        tracker.current, tracker.message = 1, "Inside"
    assert (tracker.current, tracker.message) == (7, "Outside")


def test_a_stage_that_fails_is_left(tracker: Tracker) -> None:
    with pytest.raises(ValueError, match="here"), telltale.stage("Reading"):
        raise ValueError("here")
    assert tracker.sample().stage == ""


def test_outside_a_run_nothing_happens() -> None:
    rows = [1, 2]
    assert telltale.progress(rows) is rows
    with telltale.stage("Reading", weight=0.2), telltale.no_cancel("Never mind"):
        telltale.current().current += 1
        telltale.current().message = "Nobody reads this"
    telltale.check_cancelled()
    assert (telltale.current().current, telltale.current().message) == (0, "")


def test_a_run_within_a_run_gives_back_the_outer_one(tracker: Tracker) -> None:
    with tracking(Tracker()) as _:
        assert telltale.current() is not tracker
    assert telltale.current() is tracker
