"""The store: every race is decided by one conditional write, and who loses it changes nothing."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from telltale import store
from telltale.core.snapshot import Progress
from telltale.core.states import State
from telltale.models import StoredNotice, TaskState, UsualDuration
from telltale.owners import Owner
from telltale.store import durations

pytestmark = pytest.mark.django_db(transaction=True)


def queue(**more: Any) -> TaskState:
    return store.queue(**({"runner": "test", "name": "work", "label": "Work"} | more)).task


def claim(task: TaskState, worker: str = "w") -> store.Claim:
    claimed = store.claim(task_id=task.pk, worker=worker)
    assert isinstance(claimed, store.Claim)
    return claimed


def report(of: store.Claim, fraction: float, *, seq: int = 5) -> store.Report:
    return store.Report(id=of.id, attempt=of.attempt, seq=seq, progress=Progress(fraction=fraction))


def report_of_half(of: store.Claim) -> store.Report:
    return report(of, 0.5)


def beat(of: store.Claim, *, seq: int = 2) -> store.Report:
    return store.Report(id=of.id, attempt=of.attempt, seq=seq, progress=Progress(), is_beat=True)


def all_at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What each answers, run in threads that begin together; an exception counts as an answer."""
    answers: list[Any] = [None] * len(acts)
    ready = threading.Barrier(len(acts))

    def run(n: int) -> None:
        ready.wait()
        try:
            answers[n] = acts[n]()
        except Exception as error:
            answers[n] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


# Queueing and keys


def test_a_queued_task_is_its_first_attempt() -> None:
    task = queue()
    assert (task.state, task.attempt, task.seq, task.ended_at) == ("queued", 1, 0, None)


def test_of_many_who_queue_with_one_key_one_makes_the_task_and_all_get_it() -> None:
    answers = all_at_once(*[lambda: store.queue(runner="test", name="work", key="file 7")] * 6)
    assert len({answer.task.pk for answer in answers}) == 1
    assert [answer.joined for answer in answers].count(False) == 1


def test_a_key_is_free_again_when_its_task_has_ended() -> None:
    first = queue(key="file 7")
    store.end(first.pk, claim(first).attempt, State.SUCCEEDED)
    assert queue(key="file 7").pk != first.pk


def test_a_key_held_by_a_dead_worker_is_free() -> None:
    first = queue(key="file 7")
    claim(first)
    again = store.queue(runner="test", name="work", key="file 7", now=store.now() + 1_000)
    assert not again.joined
    assert store.get_task(first.pk).state == "lost"


def test_what_could_not_be_enqueued_leaves_no_row_but_what_began_stays() -> None:
    left, begun = queue(), queue()
    claim(begun)
    store.delete_queued(left.pk)
    store.delete_queued(begun.pk)
    assert [row.pk for row in TaskState.objects.all()] == [begun.pk]


def test_a_key_that_is_too_long_is_refused_with_the_mend() -> None:
    with pytest.raises(ValueError, match="Use a hash"):
        queue(key="x" * 256)


# Claiming


def test_of_two_workers_that_got_the_same_delivery_at_once_each_has_an_attempt_of_its_own() -> None:
    task = queue()
    answers = all_at_once(*[lambda: store.claim(task_id=task.pk, worker="w")] * 4)
    assert sorted(answer.attempt for answer in answers) == [1, 2, 3, 4]
    assert store.get_task(task.pk).attempt == 4


@pytest.mark.parametrize("end", [State.SUCCEEDED, State.CANCELLED])
def test_what_is_final_refuses_a_redelivery(end: State) -> None:
    task = queue()
    store.end(task.pk, claim(task).attempt, end)
    answer = store.claim(task_id=task.pk, worker="w")
    assert isinstance(answer, store.Refusal)
    assert answer.state is end


@pytest.mark.parametrize("end", [State.FAILED, State.LOST])
def test_a_redelivery_after_a_bad_end_is_the_next_attempt_and_begins_afresh(end: State) -> None:
    task = queue()
    first = claim(task)
    store.save([report(first, 0.7)])
    store.end(task.pk, first.attempt, end, error="It broke.")
    again = claim(task)
    assert (again.attempt, again.snapshot.error, again.snapshot.progress.fraction) == (2, None, None)


def test_an_unknown_task_is_refused() -> None:
    assert store.claim(task_id=uuid4(), worker="w") == store.Refusal(state=None)
    assert store.claim(runner="test", runner_id="x", worker="w") == store.Refusal(state=None)


# Saving, fencing, ending


def test_a_stale_worker_can_neither_save_nor_end() -> None:
    task = queue()
    stale, present = claim(task), claim(task)
    [verdict] = store.save([report(stale, 0.9)])
    assert verdict.fenced
    assert store.end(task.pk, stale.attempt, State.SUCCEEDED) is None
    row = store.get_task(task.pk)
    assert (row.state, row.attempt, row.snapshot.progress.fraction) == ("running", present.attempt, None)


def test_a_batch_of_saves_tells_each_its_own_verdict() -> None:
    good, ended, gone = claim(queue()), claim(queue()), claim(queue())
    store.end(ended.id, ended.attempt, State.FAILED)
    TaskState.objects.filter(pk=gone.id).delete()
    store.request_cancel(good.id)
    verdicts = store.save([report(good, 0.1), report(ended, 0.1), report(gone, 0.1)])
    assert [(v.fenced, v.unknown, v.cancel_requested) for v in verdicts] == [
        (False, False, True),
        (True, False, False),
        (False, True, False),
    ]


def test_a_sign_of_life_renews_the_lease_counts_on_and_leaves_the_rest_as_it_is() -> None:
    alive, stopping, over = claim(queue()), claim(queue()), claim(queue())
    store.save([report(alive, 0.5)])
    store.request_cancel(stopping.id)
    store.end(over.id, over.attempt, State.FAILED)
    later = store.now() + 50
    verdicts = store.save([beat(alive, seq=6), beat(stopping), beat(over)], now=later)
    assert [(v.fenced, v.cancel_requested) for v in verdicts] == [(False, False), (False, True), (True, False)]
    row = store.get_task(alive.id)
    assert (row.seq, row.beat_at, row.snapshot.progress.fraction) == (6, later, 0.5)
    assert row.lease_until > later
    assert store.get_task(over.id).lease_until is None


def test_two_attempts_of_one_task_in_one_batch_each_have_their_own_verdict() -> None:
    task = queue()
    stale, present = claim(task), claim(task)
    for reports in ([report(present, 0.2), report(stale, 0.9)], [beat(stale), beat(present)]):
        fenced = {verdict.attempt: verdict.fenced for verdict in store.save(reports)}
        assert fenced == {stale.attempt: True, present.attempt: False}
        assert store.get_task(task.pk).snapshot.progress.fraction == 0.2


def test_a_batch_takes_as_many_statements_however_large_it_is() -> None:
    few, many = [claim(queue()) for _ in range(2)], [claim(queue()) for _ in range(store.SAVED_AT_ONCE)]

    def statements(claims: list[store.Claim]) -> int:
        half = len(claims) // 2
        with CaptureQueriesContext(connection) as captured:
            store.save([report(c, 0.5) for c in claims[:half]] + [beat(c) for c in claims[half:]])
        return len(captured)

    assert statements(many) == statements(few)


@pytest.mark.parametrize("make", [report_of_half, beat])
def test_of_a_batch_and_ends_at_the_same_moment_each_verdict_says_what_is_in_the_row(
    make: Callable[[store.Claim], store.Report],
) -> None:
    for _ in range(3):
        claims = [claim(queue()) for _ in range(30)]
        at = store.now() + 1.0
        verdicts, _nothing = all_at_once(
            lambda claims=claims, at=at: store.save([make(c) for c in claims], now=at),
            lambda claims=claims: [store.end(c.id, c.attempt, State.FAILED) for c in reversed(claims)],
        )
        rows = TaskState.objects.in_bulk([c.id for c in claims])
        assert {row.state for row in rows.values()} == {"failed"}
        assert [v.fenced for v in verdicts] == [rows[v.id].beat_at != at for v in verdicts]


def test_of_a_batch_and_redeliveries_at_the_same_moment_nothing_lands_in_a_successors_attempt() -> None:
    for _ in range(3):
        claims = [claim(queue()) for _ in range(30)]
        verdicts, _nothing = all_at_once(
            lambda claims=claims: store.save([report(c, 0.5) for c in claims]),
            lambda claims=claims: [store.claim(task_id=c.id, worker="w") for c in reversed(claims)],
        )
        rows = TaskState.objects.in_bulk([c.id for c in claims])
        assert {(row.attempt, row.snapshot.progress.fraction) for row in rows.values()} == {(2, None)}
        assert not any(verdict.unknown for verdict in verdicts)


@pytest.mark.parametrize("make", [report_of_half, beat])
@pytest.mark.parametrize("commits", [True, False])
def test_a_batch_waits_for_an_end_under_way_and_is_fenced_if_that_is_committed(
    make: Callable[[store.Claim], store.Report], commits: bool
) -> None:
    other, ending = claim(queue()), claim(queue())
    ended, go = threading.Event(), threading.Event()

    def end() -> None:
        with transaction.atomic():
            store.end(ending.id, ending.attempt, State.SUCCEEDED)
            ended.set()
            go.wait(10)
            transaction.set_rollback(not commits)

    def save() -> list[store.Saved]:
        ended.wait(10)
        threading.Timer(0.3, go.set).start()
        return store.save([make(other), make(ending)])

    _nothing, verdicts = all_at_once(end, save)
    assert [verdict.fenced for verdict in verdicts] == [False, commits]
    assert store.get_task(ending.id).state == ("succeeded" if commits else "running")


def test_of_all_who_end_a_task_at_once_one_does_and_the_owner_has_one_notice() -> None:
    ada = User.objects.create(username="ada")
    task = queue(owner=Owner(user_id=ada.pk))
    attempt = claim(task).attempt
    ends = [State.SUCCEEDED, State.FAILED, State.CANCELLED, State.LOST]
    answers = all_at_once(*[lambda end=end: store.end(task.pk, attempt, end) for end in ends])
    assert len([answer for answer in answers if answer is not None]) == 1
    assert StoredNotice.objects.filter(task=task).count() == 1


def test_a_lapsed_lease_is_lost_at_the_next_read_and_a_renewed_one_is_not() -> None:
    lapsed, renewed = queue(), queue()
    claim(lapsed)
    alive = claim(renewed)
    later = store.now() + 1_000
    store.save([report(alive, 0.5)], now=later)
    told = {e.snapshot.id: e.snapshot.state for e in store.read_tasks([lapsed.pk, renewed.pk], now=later)}
    assert told == {str(lapsed.pk): State.LOST, str(renewed.pk): State.RUNNING}


def test_reading_many_takes_one_query(django_assert_num_queries: Any) -> None:
    tasks = [queue() for _ in range(20)]
    with django_assert_num_queries(1):
        assert len(store.read_tasks([task.pk for task in tasks])) == 20


def test_following_a_person_takes_two_queries(django_assert_num_queries: Any) -> None:
    ada = User.objects.create(username="ada")
    for _ in range(5):
        queue(owner=Owner(user_id=ada.pk))
    with django_assert_num_queries(2):
        assert len(store.read_topics([f"user:{ada.pk}"])) == 5


def test_texts_are_kept_within_their_bounds_and_without_what_databases_refuse() -> None:
    task = queue(label="x" * 1_000)
    store.end(task.pk, claim(task).attempt, State.FAILED, error="bad\0 \ud800" + "y" * 9_000)
    row = store.get_task(task.pk)
    assert len(row.label.encode()) <= 255
    assert len(row.error.encode()) <= 2_048
    assert row.error.startswith("bad y")


# Cancelling and trying again


def test_what_has_not_begun_is_cancelled_at_once() -> None:
    task = queue()
    assert store.request_cancel(task.pk).snapshot.state is State.CANCELLED
    assert store.request_cancel(task.pk) is None


def test_of_a_claim_and_a_cancellation_at_once_the_outcome_is_one_of_the_two() -> None:
    for _ in range(10):
        task = queue()
        all_at_once(
            lambda task=task: store.claim(task_id=task.pk, worker="w"), lambda task=task: store.request_cancel(task.pk)
        )
        row = store.get_task(task.pk)
        assert row.state == "cancelled" or (row.state == "running" and row.cancel_requested)


def test_of_many_who_try_again_at_once_one_starts_an_attempt() -> None:
    task = queue()
    store.end(task.pk, claim(task).attempt, State.FAILED)
    answers = all_at_once(*[lambda: store.requeue(task.pk)] * 5)
    assert len([answer for answer in answers if answer is not None]) == 1
    assert (store.get_task(task.pk).state, store.get_task(task.pk).attempt) == ("queued", 2)


@pytest.mark.parametrize("state", [None, State.SUCCEEDED])
def test_what_goes_on_or_succeeded_is_not_tried_again(state: State | None) -> None:
    task = queue()
    attempt = claim(task).attempt
    if state is not None:
        store.end(task.pk, attempt, state)
    assert store.requeue(task.pk) is None


# Notices


def test_of_many_pages_that_claim_a_notice_one_shows_it() -> None:
    notice = store.add_notice("user:7", "Hello")
    answers = all_at_once(*[lambda: store.take_notice(notice.id, ["user:7"])] * 6)
    assert answers.count(True) == 1


def test_a_notice_is_claimed_only_by_who_follows_its_topic() -> None:
    notice = store.add_notice("user:7", "Hello")
    assert not store.take_notice(notice.id, ["user:8"])
    assert not store.take_notice("nonsense", ["user:7"])
    assert store.take_notice(notice.id, ["user:7"])


# What the database itself refuses


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "running"},
        {"state": "succeeded"},
        {"state": "queued", "ended_at": 1.0},
        {"state": "nonsense"},
        {"attempt": 0},
    ],
)
def test_a_row_that_contradicts_itself_is_refused_by_the_database(wrong: dict[str, Any]) -> None:
    task = queue()
    with pytest.raises(IntegrityError):
        TaskState.objects.filter(pk=task.pk).update(**wrong)


def test_many_short_runs_are_learnt_together() -> None:
    tasks = [queue() for _ in range(5)]
    claims = [claim(task) for task in tasks]
    store.end(tasks[0].pk, claims[0].attempt, State.SUCCEEDED)
    for task, running in zip(tasks[1:], claims[1:], strict=True):
        store.end(task.pk, running.attempt, State.SUCCEEDED)
    assert len(UsualDuration.objects.get().durations_s) == 1


def test_what_is_usual_is_learnt_from_enough_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations, "WRITE_EVERY_S", 0.0)
    monkeypatch.setattr(durations, "CACHED_S", 0.0)
    for _ in range(5):
        task = queue()
        store.end(task.pk, claim(task).attempt, State.SUCCEEDED)
    median, most = claim(queue()).snapshot.usual_s
    assert 0 <= median <= most < 60


def test_the_migrations_are_those_of_the_models() -> None:
    call_command("makemigrations", "telltale", check=True, dry_run=True, verbosity=0)
