"""How long the outermost stages take: by name, also while they run, and with a bound."""

import json

import pytest

from telltale.core.progress import Stages
from telltale.core.snapshot import SHORT_BYTES
from telltale.core.stage_times import KEPT, StageTime, StageTimes, read_stage_times


class Clock:
    """A clock that the test sets, in seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stages(clock: Clock) -> Stages:
    return Stages(times=StageTimes(clock))


def times_of(stages: Stages) -> list[StageTime]:
    assert stages.times is not None
    return read_stage_times(json.loads(json.dumps(stages.times.to_json())))


def test_a_stage_is_measured_while_it_runs_and_no_longer_when_it_is_over(stages: Stages, clock: Clock) -> None:
    assert times_of(stages) == []
    stages.enter("Reading")
    clock.now = 2.5
    assert times_of(stages) == [("Reading", 1, 2.5)]
    stages.leave()
    clock.now = 10.0
    stages.leave()
    stages.enter("Writing")
    clock.now = 11.0
    assert times_of(stages) == [("Reading", 1, 2.5), ("Writing", 1, 1.0)]


def test_stages_of_one_name_add_up_also_in_parallel_and_inner_ones_belong_to_the_outer(
    stages: Stages, clock: Clock
) -> None:
    first, second = (stages.enter("Upload", parent=stages.root) for _ in range(2))
    stages.enter("Connecting", parent=first)
    clock.now = 3.0
    stages.leave(first)
    clock.now = 5.0
    assert times_of(stages) == [("Upload", 2, 8.0)]
    stages.leave(second)
    stages.leave(second)
    assert times_of(stages) == [("Upload", 2, 8.0)]


def test_a_stage_for_each_of_many_rows_takes_no_more_room(stages: Stages, clock: Clock) -> None:
    for number in range(10_000):
        stages.enter(f"{number} " + "☃" * SHORT_BYTES)
        clock.now += 1
        stages.leave()
    times = times_of(stages)
    assert (len(times), times[-1]) == (KEPT + 1, ("", 10_000 - KEPT, 10_000.0 - KEPT))
    assert stages.times is not None
    assert len(json.dumps(stages.times.to_json(), ensure_ascii=False).encode()) < 6_144
