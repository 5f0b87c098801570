"""The time left of simulated and recorded runs, as a page tells it: how often, how well, and how calmly."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import pytest

from telltale.core.estimate import Pace
from tests.core.paces import Run, recorded_runs, simulated_runs, usual_duration_s
from tests.core.time_left import Told, score, told, turns
from tests.core.time_left_table import BEGIN, END, PAGE, time_left_table

SIMULATED: Final = simulated_runs()
RECORDED: Final = {run.kind: [run] for run in recorded_runs()}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What holds for the runs of one kind, on average."""

    told: float = 0.85
    wrong: float = 0.05
    turns: float = 0


LIMITS: Final = {
    # Few items to come, of which some take three times as long as others: the last ones can't be foretold.
    "slow jitter": Limits(turns=0.25),
    # No estimate is right before the second stage has begun; a third of the run is wrong even if it is known at once.
    "badly wrong weights": Limits(wrong=0.7),
    # 33 files between 0.2 and 30 MB: too different for an estimate, so there is none.
    "compress files": Limits(told=0.0),
    # The machine was busy with other work, and the pace changed by more than 3 × within these runs.
    "fill a table": Limits(wrong=0.08),
    "parse in batches": Limits(told=0.7, wrong=0.15, turns=3),
    "start programs": Limits(wrong=0.6),
}
"""Kinds for which an estimate can't keep the usual limits, and what it keeps instead."""


@pytest.mark.parametrize("kind", [*SIMULATED, *RECORDED])
def test_the_time_left_is_told_rightly_and_calmly(kind: str) -> None:
    scores = [score(run, told(run, Pace())) for run in (SIMULATED | RECORDED)[kind]]
    limits, count = LIMITS.get(kind, Limits()), len(scores)
    assert sum(score.told for score in scores) / count >= limits.told
    assert sum(score.wrong for score in scores) / count <= limits.wrong
    assert sum(score.turns for score in scores) / count <= limits.turns


def average_wrong(kind: str, usual_s: Callable[[Run], tuple[float, float] | None]) -> float:
    scores = [score(run, told(run, Pace(usual_s(run)))) for run in SIMULATED[kind]]
    return sum(score.wrong for score in scores) / len(scores)


@pytest.mark.parametrize("kind", SIMULATED)
def test_earlier_runs_make_the_time_left_no_worse(kind: str) -> None:
    usual_s, limits = usual_duration_s(kind), LIMITS.get(kind, Limits())
    scores = [score(run, told(run, Pace(usual_s))) for run in SIMULATED[kind]]
    assert sum(score.told for score in scores) / len(scores) >= limits.told
    assert sum(score.turns for score in scores) / len(scores) <= limits.turns
    assert average_wrong(kind, lambda _run: usual_s) <= average_wrong(kind, lambda _run: None)


def test_earlier_runs_make_up_for_weights_that_are_wrong_in_each_run() -> None:
    kind = "badly wrong weights"
    assert average_wrong(kind, lambda _run: usual_duration_s(kind)) <= 0.25
    assert average_wrong(kind, lambda _run: None) >= 0.6


@pytest.mark.parametrize("kind", ["even", "slow items", "jitter", "stalls", "slowing down"])
@pytest.mark.parametrize("factor", [0.05, 0.7, 1.5, 20])
def test_earlier_runs_that_took_another_time_mislead_little(kind: str, factor: float) -> None:
    assert average_wrong(kind, lambda run: (factor * run.end_s, 1.1 * factor * run.end_s)) <= 0.07


def test_earlier_runs_that_differ_from_each_other_tell_nothing() -> None:
    for run in SIMULATED["badly wrong weights"]:
        assert told(run, Pace((run.end_s, 1.3 * run.end_s))) == told(run, Pace())


@pytest.mark.parametrize("kind", ["even", "slow items", "jitter", "bursts", "wrong weights", "slowing down"])
def test_the_time_left_does_not_blink(kind: str) -> None:
    for run in SIMULATED[kind]:
        shown = [moment.remaining_s is not None for moment in told(run, Pace())]
        first = shown.index(True)
        assert all(shown[first:]), f"hidden after {first} s of {run.end_s:.0f} s"


def test_a_stop_hides_the_time_left_and_work_that_goes_on_shows_it_again() -> None:
    before = [(n / 2, n / 500) for n in range(1, 201)]
    after = [(n / 2 + 60, n / 500) for n in range(201, 501)]
    shown = {moment.at: moment.remaining_s for moment in told(Run(kind="", points=(*before, *after)), Pace())}
    assert shown[100] is not None
    assert shown[140] is None
    assert shown[160] is None
    assert shown[170] == pytest.approx(140, rel=0.2)


def test_a_stop_does_not_change_the_pace() -> None:
    run = SIMULATED["even"][0]
    late = replace(run, points=tuple((at + 15 if fraction > 0.6 else at, fraction) for at, fraction in run.points))
    expected, stopped = told(run, Pace())[-3], told(late, Pace())[-3]
    assert expected.remaining_s is not None
    assert stopped.remaining_s == pytest.approx(expected.remaining_s, abs=3)


def test_the_page_about_performance_has_these_figures() -> None:
    _before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    table, _, _after = rest.partition(END)
    assert table.strip() == time_left_table().strip(), "run `python -m tests.core.time_left_table`"


def test_the_judge_counts_what_grows_instead_of_getting_less() -> None:
    swinging = [172, 160, 578, 400, 160, 120, 300, 290]
    assert turns([Told(at=at, remaining_s=left) for at, left in enumerate(swinging)]) == 2
    assert turns([Told(at=at, remaining_s=100 - at) for at in range(90)]) == 0
    assert turns([Told(at=at, remaining_s=None) for at in range(90)]) == 0


def test_the_judge_sees_what_is_missing_and_what_is_wrong() -> None:
    run = Run(kind="", points=((100.0, 1.0),))
    right = [Told(at=at, remaining_s=100.0 - at) for at in range(1, 100)]
    assert score(run, right).told == 1
    assert score(run, right).wrong == 0
    half = [replace(moment, remaining_s=None if moment.at % 2 else 400.0) for moment in right]
    assert score(run, half).told == pytest.approx(0.5, abs=0.01)
    assert score(run, half).wrong == 1
