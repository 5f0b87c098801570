"""A run from its claim to its end: every way to begin, every way to end."""

import asyncio
import threading
import time
from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from greenlet import GreenletExit

import telltale
from telltale import store
from telltale.brokers import broker
from telltale.core.snapshot import supersedes
from telltale.core.states import State
from telltale.core.wire import Envelope
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner
from telltale.pages.task_text import describe
from telltale.worker.run import Verdict, run_attempt
from tests.worker.conftest import Carried, assert_eventually

pytestmark = pytest.mark.django_db(transaction=True)


def run(task: TaskState, error: BaseException | None = None, **options: object) -> TaskState:
    """Run the task as a runner does: it raises `error`, or succeeds."""
    with run_attempt(task_id=task.pk, **options):
        if error is not None:
            raise error
    task.refresh_from_db()
    return task


def test_a_block_without_an_error_succeeds(queue) -> None:
    task = run(queue())
    assert (task.state, task.attempt, task.error) == ("succeeded", 1, None)
    assert task.snapshot.progress.fraction == 1.0
    assert task.ended_at >= task.started_at >= task.created_at


def test_the_result_and_a_new_label_are_saved_with_the_end(queue) -> None:
    task = queue()
    with run_attempt(task_id=task.pk) as tracker:
        tracker.label, tracker.result = "Import of contacts.csv", "/contacts/"
    task.refresh_from_db()
    assert (task.label, task.result) == ("Import of contacts.csv", "/contacts/")


def test_the_text_of_a_task_error_is_shown_to_people(queue) -> None:
    task = queue()
    with pytest.raises(telltale.TaskError):
        run(task, telltale.TaskError("Row 7 has no name."))
    task.refresh_from_db()
    assert (task.state, task.error, task.reference) == ("failed", "Row 7 has no name.", None)


def test_s22_the_text_of_any_other_error_is_for_staff_and_people_get_a_reference(queue) -> None:
    task = queue()
    with pytest.raises(ZeroDivisionError):
        run(task, ZeroDivisionError("the secret is 42"))
    task.refresh_from_db()
    assert task.state == "failed"
    assert "42" not in task.error
    assert len(task.reference) == 6
    assert "ZeroDivisionError: the secret is 42" in task.detail


INTERRUPTIONS = [KeyboardInterrupt(), SystemExit(1), CancelledError(), GreenletExit()]


def rows(task: TaskState) -> Iterator[int]:
    """As a view that streams a file: the response is closed when the client goes away."""
    with run_attempt(task_id=task.pk):
        yield from telltale.progress(range(10))


@pytest.mark.parametrize(
    ("is_cancelled", "state", "error"),
    [(False, "failed", "The task was stopped before it finished."), (True, "cancelled", None)],
)
def test_a_run_in_a_generator_that_is_left_early_has_ended(
    queue, carried: Carried, is_cancelled: bool, state: str, error: str | None
) -> None:
    task = queue()
    reading = rows(task)
    assert [next(reading) for _row in range(5)] == [0, 1, 2, 3, 4]
    if is_cancelled:
        store.request_cancel(task.pk)
    reading.close()
    carried.assert_ended(task)
    task.refresh_from_db()
    assert (task.state, task.error, task.snapshot.progress.current) == (state, error, 4)


def test_a_run_that_is_cancelled_while_it_begins_has_ended(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def claim(**names: Any) -> Any:
        is_asked.set()
        time.sleep(0.2)
        return real_claim(**names)

    async def work() -> None:
        async with telltale.track("Export"):
            pytest.fail("It was cancelled before.")

    async def cancel() -> None:
        working = asyncio.create_task(work())
        await asyncio.to_thread(is_asked.wait)
        working.cancel()
        with pytest.raises(CancelledError):
            await working

    real_claim, is_asked = store.claim, threading.Event()
    monkeypatch.setattr(store, "claim", claim)
    asyncio.run(cancel())
    assert_eventually(TaskState.objects.filter(ended_at__isnull=False).exists)
    assert TaskState.objects.get().error == "The task was stopped before it finished."


@pytest.mark.parametrize("error", INTERRUPTIONS, ids=repr)
def test_f06_an_interrupted_task_has_failed(queue, error: BaseException) -> None:
    task = queue()
    with pytest.raises(type(error)):
        run(task, error)
    task.refresh_from_db()
    assert (task.state, task.error) == ("failed", "The task was stopped before it finished.")


@pytest.mark.parametrize("error", INTERRUPTIONS, ids=repr)
def test_a_task_that_is_interrupted_after_it_was_asked_to_stop_is_cancelled(queue, error: BaseException) -> None:
    task = queue()
    with pytest.raises(type(error)), run_attempt(task_id=task.pk):
        store.request_cancel(task.pk)
        raise error
    task.refresh_from_db()
    assert (task.state, task.error) == ("cancelled", None)


def test_a_task_that_was_asked_to_stop_and_ran_on_has_succeeded_and_its_owner_is_told_so(queue) -> None:
    task = queue(owner=Owner(user_id=User.objects.create_user("ada").pk))
    with run_attempt(task_id=task.pk) as tracker:
        store.request_cancel(task.pk)
        tracker.request_cancel()
        for _row in range(3):
            with suppress(BaseException):  # as a library that lets nothing pass
                telltale.check_cancelled()
    task.refresh_from_db()
    assert (task.state, task.snapshot.cancel_requested) == ("succeeded", True)
    assert describe(task.snapshot, None, now=store.now()).status == "Done. It was asked to stop, but ran on."
    assert StoredNotice.objects.get().text == f"{task.label}: finished. It was asked to stop, but ran on."


def test_a_cancelled_task_is_cancelled(queue) -> None:
    task = queue()
    with pytest.raises(telltale.Cancelled):
        run(task, telltale.Cancelled())
    task.refresh_from_db()
    assert task.state == "cancelled"


def test_a_cancellation_is_no_exception_within_its_run_and_is_one_outside(queue) -> None:
    task = queue()
    with pytest.raises(telltale.Cancelled) as left:  # noqa: SIM117 (the second block is the run itself)
        with run_attempt(task_id=task.pk) as tracker, suppress(Exception):
            tracker.request_cancel()
            tracker.check_cancelled()
    assert isinstance(left.value, Exception), "a worker survives it"
    assert store.get_task(task.pk).state == "cancelled"


def test_a_cancelled_task_is_not_retried_whatever_its_runner_says(queue) -> None:
    task = queue()
    with pytest.raises(telltale.Cancelled):
        run(task, telltale.Cancelled(), verdict=lambda error: Verdict(state=State.RETRYING))
    assert store.get_task(task.pk).state == "cancelled"


def test_a_task_group_that_raises_only_cancellations_is_cancelled(queue) -> None:
    task = queue()

    async def step() -> None:
        telltale.check_cancelled()

    async def both() -> None:
        telltale.current().request_cancel()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(step())
            tasks.create_task(step())

    with pytest.raises(telltale.Cancelled) as left, run_attempt(task_id=task.pk):
        asyncio.run(both())
    assert isinstance(left.value, Exception)
    assert store.get_task(task.pk).state == "cancelled"


def test_an_exception_group_with_a_cancellation_and_an_error_is_a_failure(queue) -> None:
    task = queue()
    with pytest.raises(ExceptionGroup) as left:
        run(task, BaseExceptionGroup("both", [telltale.Cancelled(), ValueError("the row")]))
    assert [str(error) for error in left.value.exceptions] == ["the row"]
    row = store.get_task(task.pk)
    assert row.state == "failed"
    assert "the row" in row.detail


def test_a_cancelled_outer_run_ends_although_exceptions_of_the_inner_run_are_suppressed() -> None:
    with pytest.raises(telltale.Cancelled), telltale.track("Outer") as outer:
        with suppress(Exception), telltale.track("Inner"):
            outer.request_cancel()
            outer.check_cancelled()
        pytest.fail("the outer run goes on")
    assert {row.label: row.state for row in TaskState.objects.all()} == {"Outer": "cancelled", "Inner": "cancelled"}


def test_cancelled_tracked_work_raises_an_exception_that_a_worker_survives() -> None:
    with pytest.raises(telltale.Cancelled) as left, telltale.track("Rebuild index") as task:
        task.request_cancel()
        telltale.check_cancelled()
    assert isinstance(left.value, Exception)
    assert TaskState.objects.get().state == "cancelled"


def test_a_task_that_ends_before_it_learns_of_its_cancellation_succeeds(queue) -> None:
    task = queue()
    with run_attempt(task_id=task.pk):
        store.request_cancel(task.pk)
    task.refresh_from_db()
    assert task.state == "succeeded"


def test_the_runner_decides_what_an_error_means(queue) -> None:
    task, due = queue(), time.time() + 60
    with pytest.raises(OSError, match="busy"):
        run(task, OSError("busy"), verdict=lambda error: Verdict(state=State.RETRYING, due_at=due))
    task.refresh_from_db()
    assert (task.state, task.due_at) == ("retrying", due)
    assert run(task).attempt == 2


def test_a_retrying_snapshot_supersedes_progress_that_was_never_saved(queue, settings, listen) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "SAVE_EVERY_S": 60.0}
    task, carried = queue(), listen()
    with (
        pytest.raises(OSError, match="busy"),
        run_attempt(task_id=task.pk, verdict=lambda _: Verdict(state=State.RETRYING)),
    ):
        for n in telltale.progress(range(4)):
            carried.assert_current(task, n)
        raise OSError("busy")
    assert_eventually(lambda: carried.newest_of(task).state is State.RETRYING)
    *before, last = carried.snapshots_of(task)
    assert len(before) > 2
    assert all(supersedes(last.order, earlier.order) for earlier in before)


def read_37_of_100(error: BaseException) -> None:
    with telltale.stage("Reading", weight=0.5):
        for n in telltale.progress(range(100), message="Row by row", unit="rows"):
            if n == 37:
                raise error


@pytest.mark.parametrize(
    ("error", "verdict", "state"),
    [
        (ValueError("row"), None, "failed"),
        (telltale.TaskError("Row 37 has no name."), None, "failed"),
        (telltale.Cancelled(), None, "cancelled"),
        (SystemExit(1), None, "failed"),
        (OSError("busy"), Verdict(state=State.RETRYING), "retrying"),
    ],
)
def test_every_end_and_every_retry_shows_where_the_task_stopped(
    queue, error: BaseException, verdict: Verdict | None, state: str
) -> None:
    task = queue()
    with pytest.raises(type(error)), run_attempt(task_id=task.pk, verdict=lambda _: verdict) as tracker:
        tracker.label = "Import of contacts.csv"
        read_37_of_100(error)
    row = store.get_task(task.pk)
    progress = row.snapshot.progress
    assert (row.state, row.label) == (state, "Import of contacts.csv")
    assert (progress.current, progress.total, progress.unit) == (37, 100, "rows")
    assert (progress.stage, progress.message) == ("Reading", "Row by row")
    assert progress.fraction == pytest.approx(0.185)


def test_a_retry_that_ends_as_cancelled_shows_where_the_task_stopped(queue) -> None:
    task = queue()
    with (
        pytest.raises(OSError, match="busy"),
        run_attempt(task_id=task.pk, verdict=lambda _: Verdict(state=State.RETRYING)),
    ):
        store.request_cancel(task.pk)
        read_37_of_100(OSError("busy"))
    row = store.get_task(task.pk)
    assert (row.state, row.snapshot.progress.current, row.snapshot.progress.stage) == ("cancelled", 37, "Reading")


def test_an_async_task_that_is_cancelled_in_a_stage_shows_where_it_stopped() -> None:
    async def work() -> None:
        async with telltale.track("Import"):
            with telltale.stage("Reading", weight=0.5):
                for n in telltale.progress(range(100)):
                    if n == 37:
                        asyncio.current_task().cancel()
                    await asyncio.sleep(0)

    with pytest.raises(CancelledError):
        asyncio.run(work())
    progress = TaskState.objects.get().snapshot.progress
    assert (progress.stage, progress.current, progress.total) == ("Reading", 37, 100)


def test_a_success_after_a_stage_that_failed_shows_the_values_outside_it(queue) -> None:
    task = queue()
    with run_attempt(task_id=task.pk) as tracker:
        tracker.current, tracker.total = 2, 2
        with suppress(ValueError):
            read_37_of_100(ValueError("row"))
    progress = store.get_task(task.pk).snapshot.progress
    assert (progress.fraction, progress.current, progress.total, progress.stage) == (1.0, 2, 2, "")


def test_an_unknown_task_runs_without_a_row() -> None:
    ran = []
    with run_attempt(runner="test", runner_id="never seen"):
        ran += telltale.progress([1, 2])
    assert ran == [1, 2]
    assert not TaskState.objects.exists()


def test_a_run_without_any_id_runs_all_the_same() -> None:
    with run_attempt() as tracker:
        tracker.current = 3


def test_f08_a_delivery_after_success_runs_and_changes_nothing(queue) -> None:
    before = run(queue()).snapshot
    with pytest.raises(ValueError, match="again"), run_attempt(task_id=before.id):
        raise ValueError("again")
    assert store.get_task(before.id).snapshot == before


def test_a_delivery_after_a_failure_is_another_attempt(queue) -> None:
    task = queue()
    with pytest.raises(ValueError, match="first"):
        run(task, ValueError("first"))
    again = run(task)
    assert (again.state, again.attempt, again.error) == ("succeeded", 2, None)


def test_a_task_that_was_cancelled_while_it_waited_never_begins(queue) -> None:
    task, ran = queue(), []
    store.request_cancel(task.pk)
    with pytest.raises(telltale.Cancelled), run_attempt(task_id=task.pk):
        ran.append(1)
    assert ran == []


def test_a_run_is_found_by_its_runners_id(queue) -> None:
    task = queue(runner_id="abc")
    with run_attempt(runner="test", runner_id="abc"):
        pass
    task.refresh_from_db()
    assert task.state == "succeeded"


def test_a_worker_whose_lease_expired_cannot_write_its_end(queue) -> None:
    task = queue()
    with run_attempt(task_id=task.pk):
        store.expire(now=store.now() + 1_000)
        assert isinstance(store.claim(task_id=task.pk, worker="its successor"), store.Claim)
    task.refresh_from_db()
    assert (task.state, task.attempt) == ("running", 2)


@pytest.mark.parametrize(
    ("error", "state"), [(None, "succeeded"), (ValueError("no"), "failed"), (telltale.Cancelled(), "cancelled")]
)
def test_the_end_of_a_living_worker_takes_back_that_its_task_was_lost(
    queue, error: BaseException | None, state: str
) -> None:
    ada = User.objects.create(username="ada")
    task = queue(owner=Owner(user_id=ada.pk))
    with suppress(Exception), run_attempt(task_id=task.pk):
        [lost] = store.expire(now=store.now() + 1_000)
        if error is not None:
            raise error
    row = store.get_task(task.pk)
    assert row.state == state
    assert supersedes(row.snapshot.order, lost.snapshot.order)
    assert StoredNotice.objects.count() == 1, "the notice that it was lost is replaced"


def test_f12_a_person_who_tries_a_lost_task_again_fences_its_worker(queue) -> None:
    task = queue()
    with run_attempt(task_id=task.pk):
        store.expire(now=store.now() + 1_000)
        assert store.requeue(task.pk) is not None
    row = store.get_task(task.pk)
    assert (row.state, row.attempt) == ("queued", 2)


def test_the_end_is_committed_before_it_is_published(queue) -> None:
    seen: list[str] = []

    def read_states(raw) -> None:
        ends = [e.snapshot.id for e in map(Envelope.from_bytes, raw) if e.snapshot and e.snapshot.ended]
        seen.extend(TaskState.objects.filter(pk__in=ends).values_list("state", flat=True))
        connection.close()  # of the listener's thread

    listener = broker().listen(read_states, lambda topics: None)
    run(queue())
    assert_eventually(lambda: seen)
    listener.close()
    assert seen == ["succeeded"]


def test_within_a_transaction_nothing_is_published_before_the_commit(queue, carried) -> None:
    with transaction.atomic():
        task = run(queue())
        time.sleep(0.1)
        assert carried.snapshots_of(task) == []
    assert_eventually(lambda: [s.state for s in carried.snapshots_of(task)] == [State.SUCCEEDED])


def test_the_owner_gets_one_notice_of_the_end(queue) -> None:
    ada = User.objects.create(username="ada")
    task = run(queue(owner=Owner(user_id=ada.pk)))
    assert [(n.level, n.text) for n in StoredNotice.objects.filter(task=task)] == [("success", "Work: finished.")]


def test_any_piece_of_work_can_be_tracked() -> None:
    ada = User.objects.create(username="ada")
    with telltale.track("Rebuild index", owner=ada) as task:
        task.total = 12
        task.current += 3
        assert telltale.current() is task
    row = TaskState.objects.get()
    assert (row.label, row.state, row.owner) == ("Rebuild index", "succeeded", ada)
    assert row.snapshot.progress.current == 3


def test_tracked_work_belongs_to_the_current_owner() -> None:
    ada = User.objects.create(username="ada")
    with telltale.owned_by(ada), telltale.track("Hers"):
        pass
    with telltale.track("Unowned"):
        pass
    assert TaskState.objects.get(label="Hers").owner == ada
    assert TaskState.objects.get(label="Unowned").owner is None


def test_tracked_work_that_fails_has_failed() -> None:
    with pytest.raises(ValueError, match="no"), telltale.track("Rebuild index"):
        raise ValueError("no")
    assert TaskState.objects.get().state == "failed"


def test_tracked_work_within_tracked_work_has_its_own_progress() -> None:
    with telltale.track("Outer") as outer:
        with telltale.track("Inner") as inner:
            inner.current = 2
        assert telltale.current() is outer
    assert outer.current == 0
    assert {row.label: row.state for row in TaskState.objects.all()} == {"Outer": "succeeded", "Inner": "succeeded"}


def test_concurrent_coroutines_are_tracked_separately() -> None:
    async def work(name: str) -> None:
        async with telltale.track(name) as task:
            for _ in telltale.progress(range(3)):
                await asyncio.sleep(0.01)
            assert telltale.current() is task

    async def both() -> None:
        await asyncio.gather(work("One"), work("Two"))

    asyncio.run(both())
    rows = TaskState.objects.all()
    assert {(row.label, row.state, row.snapshot.progress.current) for row in rows} == {
        ("One", "succeeded", 3),
        ("Two", "succeeded", 3),
    }


def test_a_task_that_is_interrupted_after_its_cancellation_was_requested_is_cancelled(queue) -> None:
    task = queue()
    with pytest.raises(SystemExit), run_attempt(task_id=task.pk):
        store.request_cancel(task.pk)
        raise SystemExit(-241)
    row = store.get_task(task.pk)
    assert (row.state, row.error) == ("cancelled", None)
