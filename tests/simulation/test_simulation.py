"""No promise breaks in any history, and each breaks as soon as what it rests on is taken away.

The seeds are the same in every run, so that red means that the code has changed; `make simulate` draws new
ones. SIMULATION_HISTORIES says how many: 1,000 in `make quick`, 20,000 in `make test`.
"""

import os

import pytest

from tests.simulation.histories import account, first_broken, history, live, shrunk, what_happens
from tests.simulation.sabotage import Sabotage

HISTORIES = int(os.environ.get("SIMULATION_HISTORIES", "1000"))
SABOTAGED = 1_500
"""Histories within which every sabotage must be noticed; most are within ten."""


@pytest.mark.timeout(600)
def test_no_history_breaks_a_promise() -> None:
    broken = first_broken(range(HISTORIES))
    assert broken is None, account(broken)


@pytest.mark.parametrize("mechanism", Sabotage, ids=lambda mechanism: mechanism.name.lower())
def test_taking_away_a_mechanism_is_noticed(mechanism: Sabotage) -> None:
    broken = first_broken(range(SABOTAGED), frozenset({mechanism}))
    assert broken is not None, f"nothing rests on it, or nothing tries it: {mechanism.value}"


def test_histories_reach_all_that_they_are_to_try() -> None:
    happened = what_happens(range(400))
    expected = {
        "ended succeeded",
        "ended failed",
        "ended cancelled",
        "ended lost",
        "a third attempt",
        "a worker fenced",
        "an end fenced",
        "a page ignored something",
        "closed, slow",
        "closed, silent",
        "closed, resync",
        "closed, expired",
    }
    assert expected <= {what for what, times in happened.items() if times}


def test_a_seed_is_always_the_same_history() -> None:
    first, second = (live(history(7)) for _ in range(2))
    assert first.store.rows == second.store.rows
    assert [page.view.to_json() for page in first.pages] == [page.view.to_json() for page in second.pages]


def test_a_broken_history_is_shrunk_to_what_matters() -> None:
    sabotage = frozenset({Sabotage.NOTICE_TWICE})
    broken = first_broken(range(100), sabotage)
    assert broken is not None
    assert len(shrunk(broken, sabotage).steps) < len(broken.steps) / 2
    told = account(broken, sabotage)
    assert f"seed {broken.seed}: N: a notice was shown twice" in told
    assert f"--seed {broken.seed}" in told
