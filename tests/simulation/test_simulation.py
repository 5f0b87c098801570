"""No history breaks a promise, and a promise is broken as soon as a mechanism that it depends on is removed.

The seeds are the same in every run, so a failure means that the code has changed; `make simulate` uses new ones.
SIMULATION_HISTORIES is their number: 1,000 in `make quick`, 20,000 in `make test`.
"""

import os

import pytest

from tests.simulation.histories import count_events, first_broken, history, report, run, shortened
from tests.simulation.sabotage import Sabotage

HISTORIES = int(os.environ.get("SIMULATION_HISTORIES", "1000"))
SABOTAGED = 1_500
"""Within this many histories every sabotage must break a promise; most do within ten."""


@pytest.mark.timeout(600)
def test_f40_no_history_breaks_a_promise() -> None:
    broken = first_broken(range(HISTORIES))
    assert broken is None, report(broken)


@pytest.mark.parametrize("mechanism", Sabotage, ids=lambda mechanism: mechanism.name.lower())
def test_removing_a_mechanism_breaks_a_promise(mechanism: Sabotage) -> None:
    broken = first_broken(range(SABOTAGED), frozenset({mechanism}))
    assert broken is not None, f"no promise depends on it, or no history tests it: {mechanism.value}"


def test_the_histories_include_every_kind_of_event() -> None:
    events = count_events(range(400))
    expected = {
        "ended succeeded",
        "ended failed",
        "ended cancelled",
        "ended lost",
        "a third attempt",
        "a worker fenced",
        "taken back",
        "an end fenced",
        "a page ignored something",
        "closed, slow",
        "closed, silent",
        "closed, resync",
        "closed, expired",
        "a forged snapshot was shown",
        "a forged snapshot was taken back",
    }
    assert expected <= {event for event, times in events.items() if times}


def test_a_seed_always_gives_the_same_history() -> None:
    first, second = (run(history(7)) for _ in range(2))
    assert first.store.rows == second.store.rows
    assert [page.view.to_json() for page in first.pages] == [page.view.to_json() for page in second.pages]


def test_a_history_that_breaks_a_promise_is_shortened() -> None:
    sabotage = frozenset({Sabotage.NOTICE_TWICE})
    broken = first_broken(range(100), sabotage)
    assert broken is not None
    assert len(shortened(broken, sabotage).steps) < len(broken.steps) / 2
    text = report(broken, sabotage)
    assert f"seed {broken.seed}: N: a notice was shown twice" in text
    assert f"--seed {broken.seed}" in text
