"""Calibrate with few, predict many, measure many, compare: whether the simulation can be believed here and now.

Small and great servers are up at the same time and are asked in turns, so that both meet the same moods of the
machine. Nothing that the great one shows goes into the prediction.
"""

import sys
import time
from collections import defaultdict
from typing import Final

from benchmarks.capacity import calibrate, rig
from benchmarks.capacity.calibrate import FEW, OWN, OWN_MOST_PER_S, Readings
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.figures import Figure
from benchmarks.capacity.rig import Up
from benchmarks.capacity.scenarios import at_once, broadcast, come_back, own_tasks
from benchmarks.contenders.telltale import LiveTask

MANY: Final = 10_000
PER_SECOND: Final = 1.0
WINDOW_S: Final = 3.0
CYCLES: Final = 4
TURNS: Final = 2
"""Of both servers, within a cycle."""
BUDGET_S: Final = 150.0
"""No cycle begins later; one takes some 30 s, or 45 on a busy machine."""


def check() -> tuple[Costs, list[Figure]]:
    """All of it; takes less than four minutes."""
    began = time.monotonic()
    readings: Readings = defaultdict(list)
    seen: Readings = defaultdict(list)
    read = calibrate.reads()
    for number in range(CYCLES):
        if number and time.monotonic() - began > BUDGET_S:
            break
        cycle(readings, seen)
        print(f"cycle {number + 1}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    costs = calibrate.costs(readings, read)
    seen["own_core_share"] = readings["own_core_share"]
    return costs, compared(costs, seen)


def cycle(readings: Readings, seen: Readings) -> None:
    """Both servers from their start: the great one replaces the one of the cycle before, and everybody comes back."""
    calibrate.own_topics(readings)
    with rig.up(LiveTask(), followers=FEW + 1) as few:
        calibrate.alone(few, readings)
        calibrate.handshakes(few, readings)
        with rig.up(LiveTask(), followers=MANY) as many:
            come(many, seen)
            calibrate.handshakes(few, readings)
            calibrate.quiet(few, readings)
            for _ in range(TURNS):
                calibrate.broadcasts(few, readings)
                tell(many, seen)


def come(many: Up, seen: Readings) -> None:
    """All at the same moment."""
    back = rig.spent(many, lambda: many.load.connect(MANY, flight=0))
    missing = back.seen["refused"] + back.seen["late"]
    if missing:
        raise RuntimeError(f"{missing} of {MANY} did not come back.")
    seen["all_back_s"].append(back.seen["wall_s"])
    many.load.publish_at(1.0, 1.0)
    many.load.idle(0.5)


def tell(many: Up, seen: Readings) -> None:
    """Something to all of them, a few times."""
    told = rig.spent(many, lambda: many.load.publish_at(PER_SECOND, WINDOW_S))
    # The load stops as soon as the last message has come; the time until the next was due counts too.
    due_s = told.seen["published"] / PER_SECOND
    rest = rig.spent(many, lambda: many.load.idle(max(0.0, due_s - told.seen["wall_s"])))
    seen["core_share"].append((told.server_us + rest.server_us) / 1e6 / due_s)
    seen["p50_ms"].append(told.seen["p50_us"] / 1_000)
    seen["p99_ms"].append(told.seen["p99_us"] / 1_000)


def compared(costs: Costs, seen: Readings) -> list[Figure]:
    """Each figure beside its prediction."""
    steady = broadcast(costs, followers=MANY, per_second=PER_SECOND, seconds=WINDOW_S, is_rig=True)
    back = come_back(costs, clients=MANY, coming=at_once, seed=1, is_rig=True)
    own = own_tasks(costs, followers=OWN, every_s=OWN / OWN_MOST_PER_S, seconds=2.0, seed=1)
    rows = (
        (
            "10,000 with one task, which reports once a second: CPU",
            "ms",
            1_000 * steady.core_share,
            [1_000 * share for share in seen["core_share"]],
        ),
        ("the same, until a report is read: p50", "ms", steady.p50_ms, seen["p50_ms"]),
        ("the same: p99", "ms", steady.p99_ms, seen["p99_ms"]),
        (
            "500 with a task each, 2,000 messages a second: CPU",
            "ms",
            1_000 * own.core_share,
            [1_000 * share for share in seen["own_core_share"]],
        ),
        ("10,000 come back to a server that was started anew: all are there", "s", back.all_back_s, seen["all_back_s"]),
    )
    return [Figure(name=n, unit=u, predicted=p, measured=tuple(m)) for n, u, p, m in rows]
