"""Usual durations: known after enough runs, and written in batches."""

import pytest

from telltale import store
from telltale.core.states import State
from telltale.models import UsualDuration
from telltale.store import durations
from tests.store.factories import claim, queue

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_durations_of_many_short_runs_are_written_together() -> None:
    claims = [claim(queue()) for _ in range(5)]
    for claimed in claims:
        store.end(claimed.id, claimed.attempt, State.SUCCEEDED)
    assert len(UsualDuration.objects.get().durations_s) == 1


def test_the_usual_duration_is_known_after_enough_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations, "WRITE_EVERY_S", 0.0)
    monkeypatch.setattr(durations, "CACHED_S", 0.0)
    for _ in range(5):
        claimed = claim(queue())
        store.end(claimed.id, claimed.attempt, State.SUCCEEDED)
    median_s, high_s = claim(queue()).snapshot.usual_s
    assert 0 <= median_s <= high_s < 60
