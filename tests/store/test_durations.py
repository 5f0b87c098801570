"""Usual durations: known after enough runs, written in batches, and deleted if their task has not run for long."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from telltale import store
from telltale.core.estimate import ENOUGH
from telltale.core.states import State
from telltale.models import TaskState, UsualDuration
from telltale.store import durations, pruning
from telltale.store.durations import KEPT_FEW_S, KEPT_S
from tests.store.factories import claim, queue, run_at_once

pytestmark = pytest.mark.django_db(transaction=True)


def end_run(claimed: store.Claim) -> None:
    store.end(claimed.id, claimed.attempt, State.SUCCEEDED)


def test_while_few_durations_are_stored_each_is_written_at_once_so_that_a_killed_worker_loses_none() -> None:
    for count in range(1, ENOUGH + 1):
        end_run(claim(queue()))
        assert len(UsualDuration.objects.get().durations_s) == count
    forget_as_a_killed_worker()
    assert claim(queue()).snapshot.usual_s is not None


def forget_as_a_killed_worker() -> None:
    durations._unwritten.clear()
    durations._cached.clear()


def test_a_worker_knows_the_usual_duration_as_soon_as_it_has_written_enough_runs() -> None:
    for _ in range(ENOUGH):
        end_run(claim(queue()))
    assert claim(queue()).snapshot.usual_s is not None


def test_runs_that_end_at_once_in_a_fresh_site_are_all_stored() -> None:
    claims = [claim(queue()) for _ in range(ENOUGH)]
    results = run_at_once(*(lambda claimed=claimed: end_run(claimed) for claimed in claims))
    assert results == [None] * ENOUGH
    assert len(UsualDuration.objects.get().durations_s) == ENOUGH


def test_once_enough_are_stored_the_durations_of_many_short_runs_are_written_together() -> None:
    claims = [claim(queue()) for _ in range(ENOUGH + 5)]
    for claimed in claims:
        end_run(claimed)
    assert len(UsualDuration.objects.get().durations_s) == ENOUGH


def test_the_usual_duration_is_known_after_enough_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations, "WRITE_EVERY_S", 0.0)
    monkeypatch.setattr(durations, "CACHED_S", 0.0)
    for _ in range(5):
        claimed = claim(queue())
        store.end(claimed.id, claimed.attempt, State.SUCCEEDED)
    median_s, high_s = claim(queue()).snapshot.usual_s
    assert 0 <= median_s <= high_s < 60


def test_names_that_come_once_do_not_pile_up_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations, "MOST_NAMES", 10)
    for number in range(25):
        end_run(claim(queue(name=f"Import of file {number}")))
        assert len(durations._cached) <= 10
        assert len(durations._unwritten) <= 10
    assert UsualDuration.objects.count() == 25


def stored_names() -> list[str]:
    return sorted(UsualDuration.objects.values_list("name", flat=True))


def store_durations(name: str, kept_until: float) -> None:
    UsualDuration.objects.create(name=name, durations_s=[1.0], kept_until=kept_until)


def test_the_durations_of_a_task_are_deleted_long_after_its_last_run_and_sooner_if_they_are_too_few() -> None:
    before = store.now()
    for name, runs in (("usual", ENOUGH), ("once", 1)):
        for _ in range(runs):
            end_run(claim(queue(name=name)))
    after = store.now()
    names = {}
    for days in (29, 31, 399, 401):
        instant = (before if days in (29, 399) else after) + days * 86_400
        store.prune(now=instant)
        names[days] = stored_names()
    assert (KEPT_FEW_S, KEPT_S) == (30 * 86_400, 400 * 86_400)
    assert names == {29: ["once", "usual"], 31: ["usual"], 399: ["usual"], 401: []}


def test_each_run_keeps_the_durations_anew() -> None:
    store_durations("work", kept_until=0.0)
    end_run(claim(queue()))
    store.prune()
    assert stored_names() == ["work"]


def test_of_too_many_names_those_go_that_would_be_kept_for_the_shortest_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations, "MOST_STORED", 3)
    instant = store.now()
    for number, name in enumerate(["a", "b", "c", "usual"]):
        store_durations(name, kept_until=instant + 100 * number + 100)
    store.prune(now=instant)
    assert stored_names() == ["b", "c", "usual"]
    store.prune(now=instant)
    assert stored_names() == ["b", "c", "usual"]


def test_a_call_deletes_so_many_durations_and_says_whether_there_may_be_more() -> None:
    for name in "abc":
        store_durations(name, kept_until=0.0)
    assert [store.prune(most=2).is_more for _ in range(2)] == [True, False]
    assert stored_names() == []


def test_durations_of_a_task_that_ran_while_they_were_about_to_be_deleted_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    store_durations("work", kept_until=0.0)
    claimed, delete_in_batches = claim(queue()), pruning._delete_in_batches

    def run_first(ids: Sequence[Any], delete: Callable[[Sequence[Any]], object]) -> None:
        if "work" in ids:
            end_run(claimed)
        delete_in_batches(ids, delete)

    monkeypatch.setattr(pruning, "_delete_in_batches", run_first)
    store.prune()
    assert len(UsualDuration.objects.get().durations_s) == 2


def test_a_run_ends_also_if_its_durations_are_deleted_while_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    claimed, in_transaction = claim(queue()), durations.in_transaction

    def delete_first() -> Any:
        UsualDuration.objects.all().delete()
        return in_transaction()

    monkeypatch.setattr(durations, "in_transaction", delete_first)
    end_run(claimed)
    assert (TaskState.objects.get().state, stored_names()) == (State.SUCCEEDED, [])
