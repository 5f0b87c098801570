"""Saving: many reports in one statement, each with its own verdict, none for an attempt that is over."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from telltale import store
from telltale.core.states import State
from telltale.models import TaskState
from tests.store.factories import beat, claim, queue, report, run_at_once

pytestmark = pytest.mark.django_db(transaction=True)

MakeReport = Callable[[store.Claim], store.Report]


def test_a_worker_whose_attempt_was_taken_over_can_neither_save_nor_end() -> None:
    task = queue()
    stale, current = claim(task), claim(task)
    [verdict] = store.save([report(stale, 0.9)])
    assert verdict.fenced
    assert store.end(task.pk, stale.attempt, State.SUCCEEDED) is None
    row = store.get_task(task.pk)
    assert (row.state, row.attempt, row.snapshot.progress.fraction) == ("running", current.attempt, None)


def test_each_report_of_a_batch_has_its_own_verdict() -> None:
    good, ended, deleted = claim(queue()), claim(queue()), claim(queue())
    store.end(ended.id, ended.attempt, State.FAILED)
    TaskState.objects.filter(pk=deleted.id).delete()
    store.request_cancel(good.id)
    verdicts = store.save([report(good, 0.1), report(ended, 0.1), report(deleted, 0.1)])
    assert [(verdict.fenced, verdict.unknown, verdict.cancel_requested) for verdict in verdicts] == [
        (False, False, True),
        (True, False, False),
        (False, True, False),
    ]


def test_a_beat_renews_the_lease_and_counts_on_and_changes_nothing_else() -> None:
    alive, cancelling, ended = claim(queue()), claim(queue()), claim(queue())
    store.save([report(alive, 0.5)])
    store.request_cancel(cancelling.id)
    store.end(ended.id, ended.attempt, State.FAILED)
    later = store.now() + 50
    verdicts = store.save([beat(alive, seq=6), beat(cancelling), beat(ended)], now=later)
    assert [(verdict.fenced, verdict.cancel_requested) for verdict in verdicts] == [
        (False, False),
        (False, True),
        (True, False),
    ]
    row = store.get_task(alive.id)
    assert (row.seq, row.beat_at, row.snapshot.progress.fraction) == (6, later, 0.5)
    assert row.lease_until > later
    assert store.get_task(ended.id).lease_until is None


def test_two_attempts_of_one_task_in_one_batch_each_have_their_own_verdict() -> None:
    task = queue()
    stale, current = claim(task), claim(task)
    for reports in ([report(current, 0.2), report(stale, 0.9)], [beat(stale), beat(current)]):
        fenced = {verdict.attempt: verdict.fenced for verdict in store.save(reports)}
        assert fenced == {stale.attempt: True, current.attempt: False}
        assert store.get_task(task.pk).snapshot.progress.fraction == 0.2


def test_the_number_of_statements_does_not_depend_on_the_size_of_the_batch() -> None:
    few, many = [claim(queue()) for _ in range(2)], [claim(queue()) for _ in range(store.SAVED_AT_ONCE)]

    def statements(claims: list[store.Claim]) -> int:
        half = len(claims) // 2
        with CaptureQueriesContext(connection) as captured:
            store.save([*map(report, claims[:half]), *map(beat, claims[half:])])
        return len(captured)

    assert statements(many) == statements(few)


@pytest.mark.parametrize("make", [report, beat])
def test_when_a_batch_is_saved_while_its_tasks_end_each_verdict_agrees_with_the_row(make: MakeReport) -> None:
    for _ in range(3):
        claims = [claim(queue()) for _ in range(30)]
        instant = store.now() + 1.0
        verdicts, _ends = run_at_once(
            lambda claims=claims, instant=instant: store.save([make(c) for c in claims], now=instant),
            lambda claims=claims: [store.end(c.id, c.attempt, State.FAILED) for c in reversed(claims)],
        )
        rows = TaskState.objects.in_bulk([claimed.id for claimed in claims])
        assert {row.state for row in rows.values()} == {"failed"}
        assert [verdict.fenced for verdict in verdicts] == [rows[verdict.id].beat_at != instant for verdict in verdicts]


def test_when_a_batch_is_saved_while_its_tasks_are_redelivered_nothing_is_written_to_the_newer_attempts() -> None:
    for _ in range(3):
        claims = [claim(queue()) for _ in range(30)]
        verdicts, _claims = run_at_once(
            lambda claims=claims: store.save([report(c) for c in claims]),
            lambda claims=claims: [store.claim(task_id=c.id, worker="w") for c in reversed(claims)],
        )
        rows = TaskState.objects.in_bulk([claimed.id for claimed in claims])
        assert {(row.attempt, row.snapshot.progress.fraction) for row in rows.values()} == {(2, None)}
        assert not any(verdict.unknown for verdict in verdicts)


@pytest.mark.parametrize("make", [report, beat])
@pytest.mark.parametrize("commits", [True, False])
def test_a_batch_is_saved_after_an_uncommitted_end_and_is_fenced_if_it_is_committed(
    make: MakeReport, commits: bool
) -> None:
    other, ending = claim(queue()), claim(queue())
    ended, finish = threading.Event(), threading.Event()

    def end() -> None:
        with transaction.atomic():
            store.end(ending.id, ending.attempt, State.SUCCEEDED)
            ended.set()
            finish.wait(10)
            transaction.set_rollback(not commits)

    def save() -> list[store.Saved]:
        ended.wait(10)
        threading.Timer(0.3, finish.set).start()
        while True:
            try:
                return store.save([make(other), make(ending)])
            except store.RowLocked:
                continue  # As the saver does later, instead of waiting for the transaction.

    _end, verdicts = run_at_once(end, save)
    assert [verdict.fenced for verdict in verdicts] == [False, commits]
    assert store.get_task(ending.id).state == ("succeeded" if commits else "running")
