"""Stages: the fraction of the whole, which never goes back and is None while unknown."""

import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telltale.core.progress import Stages, number
from telltale.core.snapshot import Progress


def at(stages: Stages, current: Any, total: Any) -> float | None:
    stage = stages.root
    stage.current, stage.total = current, total
    return stages.sample().fraction


def enter(
    stages: Stages, weight: float, of: float | None = None, *, done: float = 0, total: float | None = None
) -> None:
    stage = stages.enter("stage", weight, of)
    stage.current, stage.total = done, total


def test_without_stages_the_fraction_is_current_divided_by_total() -> None:
    assert at(Stages(), 21, 50) == 0.42


@pytest.mark.parametrize("total", [None, 0])
def test_without_a_total_the_fraction_is_unknown(total: float | None) -> None:
    assert at(Stages(), 21, total) is None


def test_a_current_above_the_total_means_that_the_total_is_unknown() -> None:
    stages = Stages()
    assert at(stages, 51, 50) is None
    assert stages.sample().total is None


def test_a_weight_below_one_is_a_share_of_the_whole() -> None:
    stages = Stages()
    enter(stages, 0.2, done=5, total=10)
    assert stages.sample().fraction == pytest.approx(0.1)
    stages.leave()
    enter(stages, 0.8, done=1, total=4)
    assert stages.sample().fraction == pytest.approx(0.4)


def test_weights_may_be_given_with_their_sum() -> None:
    stages = Stages()
    enter(stages, 1, 4, done=1, total=2)
    assert stages.sample().fraction == pytest.approx(0.125)
    stages.leave()
    enter(stages, 3, done=1, total=3)
    assert stages.sample().fraction == pytest.approx(0.5)


def test_a_weight_of_one_without_the_sum_leaves_the_fraction_unknown() -> None:
    stages = Stages()
    enter(stages, 1, done=1, total=2)
    progress = stages.sample()
    assert (progress.fraction, progress.current, progress.total) == (None, 1, 2)


def test_stages_nest() -> None:
    stages = Stages()
    enter(stages, 0.5)
    enter(stages, 0.5, done=1, total=2)
    assert stages.sample().fraction == pytest.approx(0.125)


def test_a_stage_that_does_not_count_adds_nothing_until_it_is_over() -> None:
    stages = Stages()
    enter(stages, 0.3)
    assert stages.sample().fraction == 0
    stages.leave()
    assert stages.sample().fraction == pytest.approx(0.3)


def test_the_outermost_stage_is_named() -> None:
    stages = Stages()
    stages.enter("Reading", 1, 3)
    stages.enter("A part of it", 0.5)
    progress = stages.sample()
    assert (progress.stage, progress.step, progress.steps) == ("Reading", 1, 3)


def test_stages_of_equal_weight_have_all_their_borders_from_the_first_on() -> None:
    stages = Stages()
    stages.enter("Reading", 1, 4)
    assert stages.sample().borders == (0.25, 0.5, 0.75)
    stages.enter("A part of it", 0.5)
    assert stages.sample().borders == (0.25, 0.5, 0.75)


def test_stages_of_other_weights_have_the_borders_and_the_number_that_are_known() -> None:
    for weights, of in (((2, 3, 5), 10), ((0.2, 0.3, 0.5), None), ((1, 1.5, 2.5), 5)):
        stages = Stages()
        known = []
        for weight in weights:
            stages.enter("", weight, of)
            known.append((stages.sample().borders, stages.sample().steps))
            stages.leave()
        assert [borders for borders, _steps in known][1:] == [(0.2, 0.5), (0.2, 0.5)]
        assert known[-1][1] == 3
        assert Progress.from_json(stages.sample().to_json()) == stages.sample()


def test_stages_of_unknown_share_that_run_in_parallel_or_are_many_have_no_borders() -> None:
    unknown, parallel, many = Stages(), Stages(), Stages()
    unknown.enter("")
    for _ in range(2):
        parallel.enter("", 1, 2, parent=parallel.root)
    many.enter("", 1, 1_000_000)
    assert [stages.sample().borders for stages in (unknown, parallel, many)] == [(), (), ()]
    assert "borders" not in many.sample().to_json()


def test_after_the_last_stage_no_stage_is_named() -> None:
    stages = Stages()
    enter(stages, 0.5)
    stages.leave()
    assert (stages.sample().stage, stages.sample().step) == ("", 0)


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf, "1", None])
def test_a_weight_that_is_no_positive_number_is_refused_with_the_fix(weight: Any) -> None:
    with pytest.raises(ValueError, match=r"weight is .*give a number above 0"):
        Stages().enter("Reading", weight)


def test_leaving_without_a_stage_is_harmless() -> None:
    stages = Stages()
    stages.leave()
    assert at(stages, 1, 2) == 0.5


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Decimal("2.5"), 2.5),
        (Decimal(10), 10),
        (Fraction(5, 2), 2.5),
        (numpy.int64(7), 7),
        (numpy.uint8(7), 7),
        (numpy.float32(2.5), 2.5),
        (numpy.float64(2.5), 2.5),
        (numpy.array(7), 7),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_of_any_type_are_converted(value: Any, shown: float) -> None:
    stages = Stages()
    stages.root.current, stages.root.total = value, 2 * value
    progress = stages.sample()
    assert (progress.current, progress.total, progress.fraction) == (shown, 2 * shown, 0.5)
    assert json.loads(json.dumps(progress.to_json())) == progress.to_json()


@pytest.mark.parametrize(
    "value",
    ["7", b"7", True, None, math.nan, -math.inf, Decimal("NaN"), -1, 10**400, 1j, [], numpy.array([1, 2])],
    ids=repr,
)
def test_what_is_no_number_from_0_to_a_quadrillion_is_not_shown(value: Any) -> None:
    assert number(value) is None


ANYTHING = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.text(),
    st.booleans(),
    st.binary(),
    st.just(10**400),
    st.lists(st.none()),
    st.decimals(),
    st.fractions(),
    st.complex_numbers(),
)
STEP = st.one_of(
    st.tuples(st.just("enter"), st.floats(0.01, 5), st.one_of(st.none(), st.floats(0.1, 10))),
    st.tuples(st.just("leave")),
    st.tuples(st.just("set"), ANYTHING, ANYTHING, ANYTHING),
)


@given(st.lists(STEP, max_size=40))
def test_with_any_values_of_a_task_a_sample_never_raises_and_the_fraction_never_goes_back(steps: list[Any]) -> None:
    stages, present, before = Stages(), [], 0.0
    for kind, *values in steps:
        if kind == "enter":
            present.append(stages.enter("stage", *values))
        elif kind == "leave":
            stages.leave()
            present[-1:] = []
        else:
            stage = present[-1] if present else stages.root
            stage.current, stage.total, stage.message = values
        progress = stages.sample()
        for figure in (progress.current, progress.total):
            assert figure is None or math.isfinite(figure)
        if progress.fraction is not None:
            assert before <= progress.fraction <= 1
            before = progress.fraction
