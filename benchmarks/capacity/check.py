"""Checks the simulation: calibrate with few followers, predict many, measure many, compare.

The small and the large server run at the same time and are measured in turns, so that other load on the machine
disturbs both alike. No figure of the large server is part of the calibration.
"""

import sys
import time
from collections import defaultdict
from typing import Final

from benchmarks.capacity import calibrate
from benchmarks.capacity.calibrate import FEW, OWN, OWN_MAX_PER_S, Readings, prioritised
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.predictions import Prediction
from benchmarks.capacity.scenarios import at_once, broadcast, own_tasks, reconnect
from benchmarks.contenders.telltale import LiveTask
from benchmarks.rig.running import RunningServer

MANY: Final = 10_000
PER_SECOND: Final = 1.0
WINDOW_S: Final = 3.0
CYCLES: Final = 4
TURNS: Final = 2
"""Of both servers, within a cycle."""
LAST_START_S: Final = 150.0
"""No cycle begins later. A cycle takes about 30 s, or 45 s on a busy machine."""


def check() -> tuple[Costs, list[Prediction]]:
    """Run all cycles and compare; takes less than four minutes."""
    began = time.monotonic()
    readings: Readings = defaultdict(list)
    measured: Readings = defaultdict(list)
    store_costs = calibrate.measure_store()
    for number in range(CYCLES):
        if number and time.monotonic() - began > LAST_START_S:
            break
        run_cycle(readings, measured)
        print(f"cycle {number + 1}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    costs = calibrate.costs(readings, store_costs)
    measured["own_core_share"] = readings["own_core_share"]
    return costs, compare(costs, measured)


def run_cycle(readings: Readings, measured: Readings) -> None:
    """Start both servers and measure them in turns."""
    calibrate.own_topics(readings)
    with prioritised(LiveTask(), followers=FEW + 1) as small:
        calibrate.one_follower(small, readings)
        calibrate.handshakes(small, readings)
        with prioritised(LiveTask(), followers=MANY) as large:
            connect_all(large, measured)
            calibrate.handshakes(small, readings)
            calibrate.quiet(small, readings)
            for _ in range(TURNS):
                calibrate.broadcasts(small, readings)
                broadcast_to_all(large, measured)


def connect_all(server: RunningServer, measured: Readings) -> None:
    """All followers connect at the same moment."""
    report = server.load.connect(MANY, in_flight=0)
    missing = report["refused"] + report["late"]
    if missing:
        raise RuntimeError(f"{missing} of {MANY} followers did not connect.")
    measured["all_connected_s"].append(report["wall_s"])
    server.load.publish_at_rate(1.0, 1.0)
    server.load.idle(0.5)


def broadcast_to_all(server: RunningServer, measured: Readings) -> None:
    """A few messages to all followers."""
    cost = server.cost(lambda: server.load.publish_at_rate(PER_SECOND, WINDOW_S))
    # The load generator stops once the last message has been read; the time until the next one was due counts too.
    window_s = cost.report["published"] / PER_SECOND
    rest = server.cost(lambda: server.load.idle(max(0.0, window_s - cost.report["wall_s"])))
    measured["core_share"].append((cost.server_us + rest.server_us) / 1e6 / window_s)
    measured["p50_ms"].append(cost.report["p50_us"] / 1_000)
    measured["p99_ms"].append(cost.report["p99_us"] / 1_000)


def compare(costs: Costs, measured: Readings) -> list[Prediction]:
    """The predictions beside the measurements."""
    steady = broadcast(costs, followers=MANY, per_second=PER_SECOND, seconds=WINDOW_S, is_rig=True)
    storm = reconnect(costs, clients=MANY, arrivals=at_once, seed=1, is_rig=True)
    own = own_tasks(costs, followers=OWN, every_s=OWN / OWN_MAX_PER_S, seconds=2.0, seed=1)
    core_ms = [1_000 * share for share in measured["core_share"]]
    own_core_ms = [1_000 * share for share in measured["own_core_share"]]
    rows = (
        ("10,000 follow one task, which reports once a second: CPU", "ms", 1_000 * steady.core_share, core_ms),
        ("the same: p50 of the delay until a report is read", "ms", steady.p50_ms, measured["p50_ms"]),
        ("the same: p99", "ms", steady.p99_ms, measured["p99_ms"]),
        ("500 follow a task each, 2,000 messages a second: CPU", "ms", 1_000 * own.core_share, own_core_ms),
        (
            "10,000 reconnect to a restarted server: all connected",
            "s",
            storm.all_connected_s,
            measured["all_connected_s"],
        ),
    )
    return [
        Prediction(name=name, unit=unit, predicted=predicted, measured=tuple(readings))
        for name, unit, predicted, readings in rows
    ]
