"""Usual durations: known after enough runs, and written in batches."""

import pytest

from telltale import store
from telltale.core.estimate import ENOUGH
from telltale.core.states import State
from telltale.models import UsualDuration
from telltale.store import durations
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
