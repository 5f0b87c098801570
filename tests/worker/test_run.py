"""A run from its claim to its end: every way in, every way out."""

import asyncio
import time
from asyncio import CancelledError
from contextlib import suppress

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

import telltale
from telltale import store
from telltale.brokers import broker
from telltale.core.states import State
from telltale.core.wire import Envelope
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner
from telltale.worker.run import Verdict, attempt
from tests.worker.conftest import eventually

pytestmark = pytest.mark.django_db(transaction=True)


def run(task: TaskState, error: BaseException | None = None, **more: object) -> TaskState:
    """Run the task as a runner would: it fails with `error`, or it succeeds."""
    with attempt(task_id=task.pk, **more):
        if error is not None:
            raise error
    task.refresh_from_db()
    return task


def test_a_block_that_is_left_in_peace_succeeds(queue) -> None:
    task = run(queue())
    assert (task.state, task.attempt, task.error) == ("succeeded", 1, None)
    assert task.snapshot.progress.fraction == 1.0
    assert task.ended_at >= task.started_at >= task.created_at


def test_the_result_and_a_new_label_are_told_with_the_end(queue) -> None:
    task = queue()
    with attempt(task_id=task.pk) as tracker:
        tracker.label, tracker.result = "Import of contacts.csv", "/contacts/"
    task.refresh_from_db()
    assert (task.label, task.result) == ("Import of contacts.csv", "/contacts/")


def test_the_words_of_a_task_error_are_for_people(queue) -> None:
    task = queue()
    with pytest.raises(telltale.TaskError):
        run(task, telltale.TaskError("Row 7 has no name."))
    task.refresh_from_db()
    assert (task.state, task.error, task.reference) == ("failed", "Row 7 has no name.", None)


def test_any_other_error_is_for_staff_and_people_get_a_reference(queue) -> None:
    task = queue()
    with pytest.raises(ZeroDivisionError):
        run(task, ZeroDivisionError("the secret is 42"))
    task.refresh_from_db()
    assert task.state == "failed"
    assert "42" not in task.error
    assert len(task.reference) == 6
    assert "ZeroDivisionError: the secret is 42" in task.detail


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), CancelledError()])
def test_a_task_that_is_interrupted_fails_and_can_be_tried_again(queue, error: BaseException) -> None:
    task = queue()
    with pytest.raises(type(error)):
        run(task, error)
    task.refresh_from_db()
    assert (task.state, task.error) == ("failed", "It was stopped before it was done.")


def test_a_cancelled_task_is_cancelled(queue) -> None:
    task = queue()
    with pytest.raises(telltale.Cancelled):
        run(task, telltale.Cancelled())
    task.refresh_from_db()
    assert task.state == "cancelled"


def test_a_cancellation_passes_what_catches_exceptions_within_its_run_and_is_one_outside_of_it(queue) -> None:
    task = queue()
    with pytest.raises(telltale.Cancelled) as left:  # noqa: SIM117 (the second block is the run itself)
        with attempt(task_id=task.pk) as tracker, suppress(Exception):
            tracker.request_cancel()
            tracker.check_cancelled()
    assert isinstance(left.value, Exception), "a worker lives on after it"
    assert store.get(task.pk).state == "cancelled"


def test_no_runner_is_asked_whether_a_cancellation_is_to_be_tried_again(queue) -> None:
    task = queue()
    with pytest.raises(telltale.Cancelled):
        run(task, telltale.Cancelled(), verdict=lambda error: Verdict(state=State.RETRYING))
    assert store.get(task.pk).state == "cancelled"


def test_a_task_group_that_is_cancelled_is_a_cancellation(queue) -> None:
    task = queue()

    async def turn() -> None:
        telltale.check_cancelled()

    async def both() -> None:
        telltale.current().request_cancel()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(turn())
            tasks.create_task(turn())

    with pytest.raises(telltale.Cancelled) as left, attempt(task_id=task.pk):
        asyncio.run(both())
    assert isinstance(left.value, Exception)
    assert store.get(task.pk).state == "cancelled"


def test_an_error_beside_a_cancellation_in_one_group_is_a_failure(queue) -> None:
    task = queue()
    with pytest.raises(ExceptionGroup) as left:
        run(task, BaseExceptionGroup("both", [telltale.Cancelled(), ValueError("the row")]))
    assert [str(error) for error in left.value.exceptions] == ["the row"]
    row = store.get(task.pk)
    assert row.state == "failed"
    assert "the row" in row.detail


def test_a_run_around_another_ends_though_the_inner_one_is_within_a_catch_of_exceptions() -> None:
    with pytest.raises(telltale.Cancelled), telltale.track("Outer") as outer:
        with suppress(Exception), telltale.track("Inner"):
            outer.request_cancel()
            outer.check_cancelled()
        pytest.fail("the outer run goes on")
    assert {row.label: row.state for row in TaskState.objects.all()} == {"Outer": "cancelled", "Inner": "cancelled"}


def test_tracked_work_that_is_cancelled_leaves_as_an_exception_that_no_worker_dies_of() -> None:
    with pytest.raises(telltale.Cancelled) as left, telltale.track("Rebuild index") as task:
        task.request_cancel()
        telltale.check_cancelled()
    assert isinstance(left.value, Exception)
    assert TaskState.objects.get().state == "cancelled"


def test_a_task_that_ends_before_it_hears_of_its_cancellation_has_ended(queue) -> None:
    task = queue()
    with attempt(task_id=task.pk):
        store.request_cancel(task.pk)
    task.refresh_from_db()
    assert task.state == "succeeded"


def test_the_runner_may_know_better_what_an_error_means(queue) -> None:
    task, due = queue(), time.time() + 60
    with pytest.raises(OSError, match="busy"):
        run(task, OSError("busy"), verdict=lambda error: Verdict(state=State.RETRYING, due_at=due))
    task.refresh_from_db()
    assert (task.state, task.due_at) == ("retrying", due)
    assert run(task).attempt == 2


def test_what_retries_outranks_the_progress_that_was_never_saved(queue, settings, listen) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "SAVE_EVERY_S": 60.0}
    task, told = queue(), listen()
    with (
        pytest.raises(OSError, match="busy"),
        attempt(task_id=task.pk, verdict=lambda _: Verdict(state=State.RETRYING)),
    ):
        for _ in telltale.progress(range(20)):
            time.sleep(0.01)
        raise OSError("busy")
    eventually(lambda: told.of(task)[-1].state is State.RETRYING)
    *before, last = told.of(task)
    assert len(before) > 2
    assert all(last.supersedes(earlier) for earlier in before)


def test_an_unknown_task_runs_and_is_told_to_nobody() -> None:
    ran = []
    with attempt(runner="test", runner_id="never seen"):
        ran += telltale.progress([1, 2])
    assert ran == [1, 2]
    assert not TaskState.objects.exists()


def test_a_run_that_nobody_can_name_runs_all_the_same() -> None:
    with attempt() as tracker:
        tracker.current = 3


def test_a_delivery_after_success_runs_and_changes_nothing(queue) -> None:
    before = run(queue()).snapshot
    with pytest.raises(ValueError, match="again"), attempt(task_id=before.id):
        raise ValueError("again")
    assert store.get(before.id).snapshot == before


def test_a_delivery_after_a_failure_is_another_attempt(queue) -> None:
    task = queue()
    with pytest.raises(ValueError, match="first"):
        run(task, ValueError("first"))
    again = run(task)
    assert (again.state, again.attempt, again.error) == ("succeeded", 2, None)


def test_what_was_cancelled_while_it_waited_never_begins(queue) -> None:
    task, ran = queue(), []
    store.request_cancel(task.pk)
    with pytest.raises(telltale.Cancelled), attempt(task_id=task.pk):
        ran.append(1)
    assert ran == []


def test_a_run_is_found_by_its_runners_id(queue) -> None:
    task = queue(runner_id="abc")
    with attempt(runner="test", runner_id="abc"):
        pass
    task.refresh_from_db()
    assert task.state == "succeeded"


def test_a_worker_that_wakes_too_late_says_nothing(queue) -> None:
    task = queue()
    with attempt(task_id=task.pk):
        store.expire(now=store.now() + 1_000)
        assert isinstance(store.claim(task_id=task.pk, worker="its successor"), store.Claim)
    task.refresh_from_db()
    assert (task.state, task.attempt) == ("running", 2)


def test_the_end_is_committed_before_anybody_hears_of_it(queue) -> None:
    seen: list[str] = []

    def look(raw) -> None:
        ends = [e.snapshot.id for e in map(Envelope.from_bytes, raw) if e.snapshot and e.snapshot.ended]
        seen.extend(TaskState.objects.filter(pk__in=ends).values_list("state", flat=True))
        connection.close()  # of the listener's thread

    listener = broker().listen(look, lambda topics: None)
    run(queue())
    eventually(lambda: seen)
    listener.close()
    assert seen == ["succeeded"]


def test_within_a_transaction_nothing_is_told_before_it_commits(queue, told) -> None:
    with transaction.atomic():
        task = run(queue())
        time.sleep(0.1)
        assert told.of(task) == []
    eventually(lambda: [s.state for s in told.of(task)] == [State.SUCCEEDED])


def test_the_owner_gets_one_notice_of_the_end(queue) -> None:
    ada = User.objects.create(username="ada")
    task = run(queue(owner=Owner(user_id=ada.pk)))
    assert [(n.level, n.text) for n in StoredNotice.objects.filter(task=task)] == [("success", "Work: done.")]


def test_any_piece_of_work_can_be_tracked() -> None:
    ada = User.objects.create(username="ada")
    with telltale.track("Rebuild index", owner=ada) as task:
        task.total = 12
        task.current += 3
        assert telltale.current() is task
    row = TaskState.objects.get()
    assert (row.label, row.state, row.owner) == ("Rebuild index", "succeeded", ada)
    assert row.snapshot.progress.current == 3


def test_what_is_tracked_belongs_to_whoever_asked_for_it() -> None:
    ada = User.objects.create(username="ada")
    with telltale.owned_by(ada), telltale.track("Hers"):
        pass
    with telltale.track("Nobody's"):
        pass
    assert TaskState.objects.get(label="Hers").owner == ada
    assert TaskState.objects.get(label="Nobody's").owner is None


def test_tracked_work_that_fails_has_failed() -> None:
    with pytest.raises(ValueError, match="no"), telltale.track("Rebuild index"):
        raise ValueError("no")
    assert TaskState.objects.get().state == "failed"


def test_work_within_work_has_a_bar_of_its_own() -> None:
    with telltale.track("Outer") as outer:
        with telltale.track("Inner") as inner:
            inner.current = 2
        assert telltale.current() is outer
    assert outer.current == 0
    assert {row.label: row.state for row in TaskState.objects.all()} == {"Outer": "succeeded", "Inner": "succeeded"}


def test_coroutines_are_tracked_each_by_itself() -> None:
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


def test_a_task_that_is_interrupted_after_it_was_asked_to_stop_is_cancelled(queue) -> None:
    task = queue()
    with pytest.raises(SystemExit), attempt(task_id=task.pk):
        store.request_cancel(task.pk)
        raise SystemExit(-241)
    row = store.get(task.pk)
    assert (row.state, row.error) == ("cancelled", None)
