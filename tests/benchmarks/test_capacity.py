"""The simulation of capacity against what must be true of it, and its page against the calibration that is kept."""

import math
import random
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.capacity import page, rules, scenarios
from benchmarks.capacity.clock import Clock, Core, Lane
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.crowd import Crowd
from benchmarks.capacity.door import Door
from benchmarks.capacity.figures import Figure
from benchmarks.capacity.hub import Hub, Message
from benchmarks.capacity.kept import Calibration
from benchmarks.capacity.scenarios import (
    Return,
    after_crash,
    after_drain,
    at_once,
    broadcast,
    come_back,
    own_tasks,
)

KEPT = Calibration.read()
COSTS = KEPT.costs


# The machinery ---------------------------------------------------------------------------------


def waits_s(load: float, *, jobs: int, seed: int = 1) -> float:
    """The mean wait of jobs that take a second each and come at moments of chance."""
    clock, chance, waits = Clock(), random.Random(seed), []
    core, at_s = Core(clock), 0.0

    def come(came_at_s: float) -> None:
        def begin() -> float:
            waits.append(clock.now_s - came_at_s)
            return 1.0

        core.do(begin)

    for _ in range(jobs):
        at_s += chance.expovariate(load)
        clock.at(at_s, lambda came_at_s=at_s: come(came_at_s))
    clock.run()
    return sum(waits) / jobs


@pytest.mark.parametrize("load", [0.3, 0.5, 0.7])
def test_jobs_wait_at_a_core_as_long_as_the_formula_of_md1_says(load: float) -> None:
    assert waits_s(load, jobs=40_000) == pytest.approx(load / (2 * (1 - load)), rel=0.06)


def test_a_lane_tells_what_a_core_would_do() -> None:
    clock, lane, chance = Clock(), Lane(), random.Random(1)
    core, done, told, at_s = Core(clock), [], [], 0.0
    for _ in range(500):
        at_s += chance.expovariate(0.9)
        clock.at(at_s, lambda: core.spend(1.0, lambda: done.append(clock.now_s)))
        told.append(lane.passes(at_s, 1.0))
    clock.run()
    assert done == pytest.approx(told)


def test_a_thread_has_the_core_for_as_long_as_the_loop_has_it() -> None:
    clock, ends = Clock(), []
    core = Core(clock)
    core.beside(1.0, lambda: ends.append(clock.now_s))
    for _ in range(300):
        core.spend(0.01)
    clock.run()
    assert ends == [pytest.approx(2.0, abs=0.02)]
    assert core.busy_s == pytest.approx(4.0)
    assert clock.now_s == pytest.approx(4.0)


# A process -------------------------------------------------------------------------------------


def frames(*said_at_s: float, followers: int, costs: Costs = COSTS) -> dict[int, list[tuple[int, float]]]:
    """What each follower of one task is sent, and when, as it reports at these instants."""
    clock = Clock()
    hub = Hub(clock, costs, Core(clock))
    sent: dict[int, list[tuple[int, float]]] = {number: [] for number in range(followers)}
    for its in sent.values():
        hub.attach(0, lambda message, at_s, its=its: its.append((message.seq, at_s)))
    for seq, at_s in enumerate(said_at_s, 1):
        clock.at(at_s, lambda seq=seq, at_s=at_s: hub.hear(Message(0, seq, at_s)))
    clock.run()
    return sent


@pytest.mark.parametrize("seed", range(8))
def test_the_newest_word_reaches_every_follower_whatever_the_pace(seed: int) -> None:
    chance = random.Random(seed)
    said_at_s = sorted(chance.random() * chance.choice([0.1, 1.0, 10.0]) for _ in range(chance.randrange(1, 400)))
    dear = replace(COSTS, delivery_us=chance.choice([1.0, 20.0, 200.0]))
    for each in frames(*said_at_s, followers=1_200, costs=dear).values():
        seqs = [seq for seq, _at_s in each]
        assert seqs[-1] == len(said_at_s)
        assert seqs == sorted(set(seqs))


def test_nobody_is_sent_more_than_ten_frames_a_second() -> None:
    each = frames(*(n / 500 for n in range(1_000)), followers=3)[0]
    assert len(each) <= 2 / rules.PACE_S + 2


def test_a_handshake_waits_for_two_slices_at_most_however_many_follow() -> None:
    clock = Clock()
    hub, order = Hub(clock, COSTS, Core(clock)), []
    for _ in range(10 * rules.SLICE):
        hub.attach(0, lambda _message, at_s: order.append(("frame", at_s)))
    hub.hear(Message(0, 1, 0.0))
    hub.core.spend(0.001, lambda: order.append(("handshake", clock.now_s)))
    clock.run()
    kinds = [kind for kind, _at_s in sorted(order, key=lambda each: each[1])]
    assert 0 < kinds.index("handshake") <= 2 * rules.SLICE


# Figures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", [after_crash, after_drain])
def test_the_same_seed_tells_the_same_story_and_another_another(act: scenarios.Coming) -> None:
    def story(seed: int) -> Return:
        return come_back(COSTS, clients=1_500, coming=act, seed=seed)

    assert story(1) == story(1)
    assert story(1) != story(2)


def test_more_followers_take_more_of_a_core_and_wait_longer() -> None:
    told = [broadcast(COSTS, followers=n, per_second=1.0, seconds=2.0) for n in (1, 100, 1_000, 5_000)]
    for fewer, more in pairwise(told):
        assert fewer.core_share < more.core_share
        assert fewer.p50_ms < more.p50_ms
        assert fewer.p99_ms < more.p99_ms


def test_a_pace_beyond_ten_a_second_costs_little_more() -> None:
    ten = broadcast(COSTS, followers=1_000, per_second=9.5, seconds=3.0)
    hundred = broadcast(COSTS, followers=1_000, per_second=100.0, seconds=3.0)
    assert ten.core_share < hundred.core_share < 1.5 * ten.core_share
    assert set(hundred.newest.values()) == {300}


def test_more_tasks_take_more_of_a_core_and_each_brings_its_newest() -> None:
    few, many = (own_tasks(COSTS, followers=n, every_s=1.0, seconds=3.0, seed=1) for n in (100, 2_000))
    assert few.core_share < many.core_share
    assert few.redis_share < many.redis_share
    assert len(many.newest) == 2_000
    assert set(many.newest.values()) <= {3, 4}


def test_more_clients_come_back_later_and_all_of_them_do() -> None:
    times = [come_back(COSTS, clients=n, coming=at_once, seed=1, is_rig=True).all_back_s for n in (100, 1_000, 8_000)]
    assert times == sorted(times)
    assert math.isfinite(times[-1])


def test_a_return_takes_as_long_as_the_work_where_all_come_at_once() -> None:
    back = come_back(COSTS, clients=2_000, coming=at_once, seed=1, is_rig=True)
    assert back.busy_s <= back.all_back_s <= 1.1 * back.busy_s


def test_a_drain_spreads_the_return_as_its_hint_says() -> None:
    quick = replace(COSTS, accept_us=1.0, upgrade_us=1.0, admit_us=1.0)
    back = come_back(quick, clients=8_000, coming=after_drain, seed=1)
    assert back.half_back_s == pytest.approx(4.0, abs=1.0)
    assert 7.0 < back.all_back_s < 10.0


def test_who_finds_the_queue_full_comes_a_second_later() -> None:
    quick = replace(COSTS, load_join_us=1.0)
    clock = Clock()
    door = Door(clock, quick, Core(clock), backlog=9)
    door.is_up = False
    clock.at(0.5, door.come_up)
    those = Crowd(clock, door, random.Random(1))
    for _ in range(15):
        those.comes(0.0)
    clock.run()
    assert door.turned_away == 5
    assert sum(at_s >= rules.SYN_RETRY_S for at_s in those.back_at_s) == 5
    assert len(those.back_at_s) == 15


def test_who_is_refused_by_a_dead_machine_backs_off_until_it_is_there() -> None:
    back = come_back(COSTS, clients=500, coming=after_crash, seed=1, up_after_s=3.0, is_held=False)
    assert 3.0 < back.half_back_s < back.all_back_s < 40.0


def test_a_process_with_too_many_does_not_get_them_back_in_time() -> None:
    dear = replace(COSTS, upgrade_us=50_000.0)
    back = come_back(dear, clients=4_000, coming=after_crash, seed=1)
    assert back.all_back_s == math.inf
    assert back.stepped_down > 0


# What it shares with the code, and shows --------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "module", "expression"),
    [
        (rules.backoff_s, "backoff.js", r"Math\.min\(LONGEST_MS, FIRST_MS \* 2 \*\* n\) \* random"),
        (rules.spread_s, "backoff.js", r"Math\.min\(LONGEST_SPREAD_MS, \(bye\.within_s \|\| 0\) \* 1000\) \* random"),
        (rules.within_s, "driver.py", r"round\(max\(1\.0, len\(seats\) / RETURN_PER_S\), 1\)"),
    ],
    ids=["back-off", "spread", "hint"],
)
def test_a_formula_that_is_repeated_here_is_still_the_codes(
    ours: Callable[..., float], module: str, expression: str
) -> None:
    (source,) = (Path(__file__).parents[2] / "src" / "telltale").rglob(module)
    assert re.search(expression, source.read_text()), f"{ours.__name__} in {rules.__file__} follows {module}"


def test_the_client_waits_as_its_modules_say() -> None:
    assert rules.backoff_s(2, 0.5) == 1.0
    assert rules.backoff_s(20, 1.0) == rules.LONGEST_S == 30.0
    assert rules.spread_s(500.0, 0.5) == 150.0


def test_the_page_is_what_the_command_makes_of_the_kept_calibration() -> None:
    text = page.PAGE.read_text()
    assert page.written(text, KEPT) == text, "run `python -m benchmarks.capacity --write-docs`"


def test_the_kept_calibration_predicted_well() -> None:
    assert [figure.name for figure in KEPT.figures if not figure.is_met] == []


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    KEPT.write(tmp_path / "calibration.json")
    assert Calibration.read(tmp_path / "calibration.json") == KEPT


def test_a_calibration_of_another_version_is_not_taken() -> None:
    kept = {**COSTS.to_json(), "moods_us": 1.0}
    with pytest.raises(ValueError, match="moods_us"):
        Costs.from_json(kept)


@pytest.mark.parametrize(("predicted", "is_met"), [(8.0, True), (12.0, True), (7.9, False), (12.1, False)])
def test_a_prediction_is_judged_against_the_median(predicted: float, is_met: bool) -> None:
    figure = Figure(name="n", unit="s", predicted=predicted, measured=(1.0, 10.0, 99.0))
    assert figure.is_met is is_met
