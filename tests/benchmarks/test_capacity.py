"""The simulation of capacity has the properties of a real site, and docs/capacity.md matches the stored calibration."""

import math
import random
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.capacity import constants, page, scenarios
from benchmarks.capacity.admission import Admission
from benchmarks.capacity.calibration import Calibration
from benchmarks.capacity.clients import Clients
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.hub import Hub, Message
from benchmarks.capacity.predictions import Prediction
from benchmarks.capacity.scenarios import (
    Reconnection,
    after_crash,
    after_drain,
    at_once,
    broadcast,
    own_tasks,
    reconnect,
)
from benchmarks.capacity.simulation import Core, FifoQueue, SimulationClock

STORED = Calibration.read()
COSTS = STORED.costs


# The simulation --------------------------------------------------------------------------------


def mean_wait_s(load: float, *, jobs: int, seed: int = 1) -> float:
    """The mean wait of jobs that take a second each and arrive at random."""
    clock, chance, waits_s = SimulationClock(), random.Random(seed), []
    core, at_s = Core(clock), 0.0

    def arrive(arrived_at_s: float) -> None:
        def begin() -> float:
            waits_s.append(clock.now_s - arrived_at_s)
            return 1.0

        core.run(begin)

    for _ in range(jobs):
        at_s += chance.expovariate(load)
        clock.call_at(at_s, lambda arrived_at_s=at_s: arrive(arrived_at_s))
    clock.run()
    return sum(waits_s) / jobs


@pytest.mark.parametrize("load", [0.3, 0.5, 0.7])
def test_jobs_wait_for_a_core_as_long_as_the_formula_of_md1_says(load: float) -> None:
    assert mean_wait_s(load, jobs=40_000) == pytest.approx(load / (2 * (1 - load)), rel=0.06)


def test_a_fifo_queue_computes_the_same_instants_as_a_core() -> None:
    clock, queue, chance = SimulationClock(), FifoQueue(), random.Random(1)
    core, done_at_s, computed_s, at_s = Core(clock), [], [], 0.0
    for _ in range(500):
        at_s += chance.expovariate(0.9)
        clock.call_at(at_s, lambda: core.run_for(1.0, lambda: done_at_s.append(clock.now_s)))
        computed_s.append(queue.done_at_s(at_s, 1.0))
    clock.run()
    assert done_at_s == pytest.approx(computed_s)


def test_a_thread_gets_as_much_time_of_its_core_as_the_event_loop() -> None:
    clock, ended_at_s = SimulationClock(), []
    core = Core(clock)
    core.run_in_thread(1.0, lambda: ended_at_s.append(clock.now_s))
    for _ in range(300):
        core.run_for(0.01)
    clock.run()
    assert ended_at_s == [pytest.approx(2.0, abs=0.02)]
    assert core.busy_s == pytest.approx(4.0)
    assert clock.now_s == pytest.approx(4.0)


# A process -------------------------------------------------------------------------------------


def frames(*published_at_s: float, followers: int, costs: Costs = COSTS) -> dict[int, list[tuple[int, float]]]:
    """The seq and the instant of each frame, by follower, when one task reports at these instants."""
    clock = SimulationClock()
    hub = Hub(clock, costs, Core(clock))
    written: dict[int, list[tuple[int, float]]] = {number: [] for number in range(followers)}
    for its_frames in written.values():
        hub.attach(0, lambda message, at_s, its_frames=its_frames: its_frames.append((message.seq, at_s)))
    for seq, at_s in enumerate(published_at_s, 1):
        clock.call_at(at_s, lambda seq=seq, at_s=at_s: hub.receive(Message(0, seq, at_s)))
    clock.run()
    return written


@pytest.mark.parametrize("seed", range(8))
def test_the_newest_message_reaches_every_follower_at_any_rate(seed: int) -> None:
    chance = random.Random(seed)
    published_at_s = sorted(chance.random() * chance.choice([0.1, 1.0, 10.0]) for _ in range(chance.randrange(1, 400)))
    costs = replace(COSTS, delivery_us=chance.choice([1.0, 20.0, 200.0]))
    for its_frames in frames(*published_at_s, followers=1_200, costs=costs).values():
        seqs = [seq for seq, _at_s in its_frames]
        assert seqs[-1] == len(published_at_s)
        assert seqs == sorted(set(seqs))


def test_a_follower_gets_at_most_ten_frames_a_second() -> None:
    its_frames = frames(*(n / 500 for n in range(1_000)), followers=3)[0]
    assert len(its_frames) <= 2 / constants.PACE_S + 2


def test_a_handshake_waits_for_two_slices_at_most_with_any_number_of_followers() -> None:
    clock = SimulationClock()
    hub, events = Hub(clock, COSTS, Core(clock)), []
    for _ in range(10 * constants.SLICE):
        hub.attach(0, lambda _message, at_s: events.append(("frame", at_s)))
    hub.receive(Message(0, 1, 0.0))
    hub.core.run_for(0.001, lambda: events.append(("handshake", clock.now_s)))
    clock.run()
    kinds = [kind for kind, _at_s in sorted(events, key=lambda event: event[1])]
    assert 0 < kinds.index("handshake") <= 2 * constants.SLICE


# Figures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrivals", [after_crash, after_drain])
def test_the_same_seed_gives_the_same_figures_and_another_seed_gives_others(
    arrivals: scenarios.ArrivalPattern,
) -> None:
    def figures(seed: int) -> Reconnection:
        return reconnect(COSTS, clients=1_500, arrivals=arrivals, seed=seed)

    assert figures(1) == figures(1)
    assert figures(1) != figures(2)


def test_more_followers_take_more_of_a_core_and_wait_longer() -> None:
    figures = [broadcast(COSTS, followers=n, per_second=1.0, seconds=2.0) for n in (1, 100, 1_000, 5_000)]
    for fewer, more in pairwise(figures):
        assert fewer.core_share < more.core_share
        assert fewer.p50_ms < more.p50_ms
        assert fewer.p99_ms < more.p99_ms


def test_more_than_ten_messages_a_second_cost_little_more_than_ten() -> None:
    ten = broadcast(COSTS, followers=1_000, per_second=9.5, seconds=3.0)
    hundred = broadcast(COSTS, followers=1_000, per_second=100.0, seconds=3.0)
    assert ten.core_share < hundred.core_share < 1.5 * ten.core_share
    assert set(hundred.newest.values()) == {300}


def test_more_tasks_take_more_of_a_core_and_every_follower_gets_the_newest_message() -> None:
    few, many = (own_tasks(COSTS, followers=n, every_s=1.0, seconds=3.0, seed=1) for n in (100, 2_000))
    assert few.core_share < many.core_share
    assert few.redis_share < many.redis_share
    assert len(many.newest) == 2_000
    assert set(many.newest.values()) <= {3, 4}


def test_more_clients_take_longer_to_reconnect_and_all_of_them_do() -> None:
    times_s = [
        reconnect(COSTS, clients=n, arrivals=at_once, seed=1, is_rig=True).all_connected_s for n in (100, 1_000, 8_000)
    ]
    assert times_s == sorted(times_s)
    assert math.isfinite(times_s[-1])


def test_clients_that_come_at_once_are_connected_as_soon_as_the_work_is_done() -> None:
    storm = reconnect(COSTS, clients=2_000, arrivals=at_once, seed=1, is_rig=True)
    assert storm.busy_s <= storm.all_connected_s <= 1.1 * storm.busy_s


def test_a_drain_spreads_the_clients_as_its_hint_says() -> None:
    costs = replace(COSTS, accept_us=1.0, upgrade_us=1.0, admit_us=1.0)
    drain = reconnect(costs, clients=8_000, arrivals=after_drain, seed=1)
    assert drain.half_connected_s == pytest.approx(4.0, abs=1.0)
    assert 7.0 < drain.all_connected_s < 10.0


def test_a_client_that_meets_a_full_accept_queue_tries_again_a_second_later() -> None:
    costs = replace(COSTS, load_join_us=1.0)
    clock = SimulationClock()
    admission = Admission(clock, costs, Core(clock), backlog=9)
    admission.is_up = False
    clock.call_at(0.5, admission.start)
    clients = Clients(clock, admission, random.Random(1))
    for _ in range(15):
        clients.add(0.0)
    clock.run()
    assert admission.queue_overflows == 5
    assert sum(at_s >= constants.SYN_RETRY_S for at_s in clients.connected_at_s) == 5
    assert len(clients.connected_at_s) == 15


def test_clients_back_off_until_a_machine_that_refuses_them_is_up() -> None:
    crash = reconnect(COSTS, clients=500, arrivals=after_crash, seed=1, up_after_s=3.0, is_listening=False)
    assert 3.0 < crash.half_connected_s < crash.all_connected_s < 40.0


def test_too_many_clients_for_a_process_do_not_all_reconnect_in_time() -> None:
    costs = replace(COSTS, upgrade_us=50_000.0)
    crash = reconnect(costs, clients=4_000, arrivals=after_crash, seed=1)
    assert crash.all_connected_s == math.inf
    assert crash.fallbacks > 0


# What it shares with the code, and the page -----------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "module", "expression"),
    [
        (constants.backoff_s, "backoff.js", r"Math\.min\(LONGEST_MS, FIRST_MS \* 2 \*\* n\) \* random"),
        (
            constants.spread_s,
            "backoff.js",
            r"Math\.min\(LONGEST_SPREAD_MS, \(bye\.within_s \|\| 0\) \* 1000\) \* random",
        ),
        (constants.within_s, "driver.py", r"round\(max\(1\.0, len\(\w+\) / RETURN_PER_S\), 1\)"),
    ],
    ids=["back-off", "spread", "hint"],
)
def test_a_formula_that_is_repeated_in_the_simulation_is_that_of_the_code(
    ours: Callable[..., float], module: str, expression: str
) -> None:
    (source,) = (Path(__file__).parents[2] / "src" / "telltale").rglob(module)
    assert re.search(expression, source.read_text()), f"{ours.__name__} in {constants.__file__} follows {module}"


def test_the_simulated_client_waits_as_the_javascript_modules_say() -> None:
    assert constants.backoff_s(2, 0.5) == 1.0
    assert constants.backoff_s(20, 1.0) == constants.LONGEST_S == 30.0
    assert constants.spread_s(500.0, 0.5) == 150.0


def test_the_page_matches_the_stored_calibration() -> None:
    text = page.PAGE.read_text()
    assert page.with_tables(text, STORED) == text, "run `python -m benchmarks.capacity --write-docs`"


def test_the_predictions_of_the_stored_calibration_are_close_enough() -> None:
    assert [prediction.name for prediction in STORED.predictions if not prediction.is_met] == []


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    STORED.write(tmp_path / "calibration.json")
    assert Calibration.read(tmp_path / "calibration.json") == STORED


def test_a_calibration_of_another_version_is_refused() -> None:
    stored = {**COSTS.to_json(), "unknown_us": 1.0}
    with pytest.raises(ValueError, match="unknown_us"):
        Costs.from_json(stored)


@pytest.mark.parametrize(("predicted", "is_met"), [(8.0, True), (12.0, True), (7.9, False), (12.1, False)])
def test_a_prediction_is_judged_against_the_median(predicted: float, is_met: bool) -> None:
    prediction = Prediction(name="n", unit="s", predicted=predicted, measured=(1.0, 10.0, 99.0))
    assert prediction.is_met is is_met
