"""Measures what the parts cost, through the rig with 2,000 followers at most.

Costs are CPU time by the scheduler's clock, in microseconds: medians of several short readings, because the speed of
a shared machine changes by the second. Costs that cannot be measured alone are computed as differences.
"""

import json
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from benchmarks.capacity import plain_sockets
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.scenarios import at_once, reconnect
from benchmarks.contenders.telltale import LiveTask, LiveWebSocket
from benchmarks.rig import machine
from benchmarks.rig.contender import Contender
from benchmarks.rig.paths import ROOT
from benchmarks.rig.running import RunningServer, running, workspace

FEW: Final = 2_000
"""Followers, besides the first one."""
HALF: Final = FEW // 2
PLAIN_CONNECTIONS: Final = 300
SUBSCRIBERS: Final = 8
OWN: Final = 500
"""Followers with a topic each."""
OWN_PER_S: Final = 50.0
OWN_IN_FLIGHT: Final = 256
"""Undelivered messages, while Redis is kept busy."""
OWN_MAX_PER_S: Final = 2_000.0
"""Each follower's topic then gets four messages a second, which is below the pace."""
BURST: Final = 2_000

Readings = defaultdict[str, list[float]]
"""All readings of each figure."""


@contextmanager
def prioritised(contender: Contender, *, followers: int, topics: int = 1) -> Iterator[RunningServer]:
    """A running server that has precedence over other load on the machine, with its Redis and its load generator."""
    with running(contender, followers=followers, topics=topics) as server:
        machine.prioritise(server.redis_pid, server.pid)
        yield server


def own_topics(readings: Readings) -> None:
    """Followers with a topic each get one message at a time: the cost of a wake-up for each message."""
    with prioritised(LiveWebSocket(), followers=OWN, topics=OWN) as server:
        load = server.load
        load.connect(OWN, in_flight=64)
        load.publish_at_rate(OWN, 1.0)
        load.idle(0.3)
        readings["idle_us"].append(server.cost(lambda: load.idle(1.0)).server_us)
        slow = server.cost(lambda: load.publish_at_rate(OWN_PER_S, 1.0))
        readings["own_us"].append(slow.server_us / slow.report["published"])
        readings["own_p50_us"].append(slow.report["p50_us"])
        readings["own_load_us"].append(slow.load_us / slow.report["published"])
        fast = server.cost(lambda: load.publish_at_rate(OWN_MAX_PER_S, 1.0))
        # Not part of the calibration: `check.py` predicts it.
        readings["own_core_share"].append(fast.server_us / 1e6 / fast.report["wall_s"])
        busy = server.cost(lambda: load.publish_closed_loop(0.6, in_flight=OWN_IN_FLIGHT))
        readings["redis_us"].append(busy.redis_us / busy.report["published"])


def one_follower(server: RunningServer, readings: Readings) -> None:
    """One follower of a task that reports far too often; then the same with more subscribers at Redis."""
    load = server.load
    load.connect(1, in_flight=1)
    load.publish_at_rate(10.0, 0.5)
    load.idle(0.3)
    burst = server.cost(lambda: load.publish_burst(BURST, 5.0))
    readings["envelope_us"].append(burst.server_us / BURST)
    readings["redis_burst_us"].append(burst.redis_us / BURST)
    with plain_sockets.subscribers(server.workspace.redis_port, SUBSCRIBERS):
        burst = server.cost(lambda: load.publish_burst(BURST, 5.0))
    readings["redis_with_subscribers_us"].append(burst.redis_us / BURST)
    load.idle(0.3)


def handshakes(server: RunningServer, readings: Readings) -> None:
    """Handshakes in parts, with plain sockets; then complete ones of half of the followers at once. Called twice."""
    load = server.load
    before_us = machine.cpu_us(server.pid)
    with plain_sockets.connections(server.workspace.port, PLAIN_CONNECTIONS) as connections:
        time.sleep(0.3)
        accepted_us = machine.cpu_us(server.pid)
        plain_sockets.upgrade(connections)
        time.sleep(0.1)
        upgraded_us = machine.cpu_us(server.pid)
    readings["accept_us"].append((accepted_us - before_us) / PLAIN_CONNECTIONS)
    readings["upgrade_us"].append((upgraded_us - accepted_us) / PLAIN_CONNECTIONS)
    load.idle(0.5)
    resident = machine.resident_bytes(server.pid)
    joined = server.cost(lambda: load.connect(HALF, in_flight=0))
    readings["join_us"].append(joined.server_us / HALF)
    readings["load_join_us"].append(joined.load_us / HALF)
    load.idle(0.5)
    readings["follower_bytes"].append((machine.resident_bytes(server.pid) - resident) / HALF)


def quiet(server: RunningServer, readings: Readings) -> None:
    """A server with all its followers, without messages."""
    readings["boot_s"].append(server.start_s)
    readings["message_bytes"].append(len(server.contender.sample(server.workspace)))
    # The first frame to each follower costs more than all others.
    server.load.publish_at_rate(1.0, 1.0)
    server.load.idle(0.5)
    readings["quiet_us"].append(server.cost(lambda: server.load.idle(1.0)).server_us)


def broadcasts(server: RunningServer, readings: Readings) -> None:
    """Messages to all followers, at a low rate."""
    cost = server.cost(lambda: server.load.publish_at_rate(2.0, 2.0))
    readings["broadcast_us"].append(cost.server_us / cost.report["published"])
    readings["broadcast_s"].append(cost.report["wall_s"] / cost.report["published"])
    readings["load_read_us"].append(cost.load_us / cost.report["deliveries"])
    readings["frame_bytes"].append(cost.report["bytes"] / cost.report["deliveries"])
    server.load.idle(0.2)


def measure_store() -> dict[str, float]:
    """The costs of a read of the store: see `store_costs.py`."""
    contender = LiveTask()
    with workspace() as here:
        contender.prepare(here)
        python = contender.command(here)[0]
        command = machine.pinned(machine.SERVER_CORE, [python, "-m", "benchmarks.capacity.store_costs"])
        done = subprocess.run(command, cwd=ROOT, env=contender.env(here), check=True, stdout=subprocess.PIPE)
        figures: dict[str, float] = json.loads(done.stdout)
        return figures


def costs(readings: Readings, store_costs: dict[str, float]) -> Costs:
    """All costs, computed from the medians of the readings."""
    median = {name: statistics.median(figures) for name, figures in readings.items()}
    follower_us = max(0.0, (median["quiet_us"] - median["idle_us"]) / FEW)
    broadcast_us = median["broadcast_us"] - median["quiet_us"] * median["broadcast_s"]
    own_us = median["own_us"] - median["idle_us"] / OWN_PER_S
    delivery_us = (broadcast_us - own_us) / (FEW - 1)
    redis_delivery_us = max(0.0, (median["redis_with_subscribers_us"] - median["redis_burst_us"]) / SUBSCRIBERS)
    without_admission = Costs(
        wake_us=max(0.0, own_us - median["envelope_us"] - store_costs["frame_us"] - delivery_us),
        envelope_us=median["envelope_us"],
        delivery_us=delivery_us,
        accept_us=median["accept_us"],
        upgrade_us=median["upgrade_us"],
        admit_us=0.0,
        idle_us=median["idle_us"],
        follower_us=follower_us,
        boot_s=median["boot_s"],
        follower_bytes=median["follower_bytes"],
        redis_message_us=max(0.0, median["redis_us"] - redis_delivery_us),
        redis_delivery_us=redis_delivery_us,
        message_bytes=median["message_bytes"],
        frame_bytes=median["frame_bytes"],
        load_join_us=median["load_join_us"],
        load_read_us=median["load_read_us"],
        lag_us=max(0.0, median["own_p50_us"] - own_us - median["own_load_us"]),
        **store_costs,
    )
    return replace(without_admission, admit_us=_admit_us(without_admission, median["join_us"]))


def _admit_us(costs: Costs, join_us: float) -> float:
    """The cost of admitting with which the simulation of `handshakes` gives the measured cost, found by bisection.

    It is not a difference: how many reads of the store there are depends on how many clients come meanwhile.
    """
    low, high = 0.0, join_us
    for _ in range(7):
        middle = (low + high) / 2
        storm = reconnect(replace(costs, admit_us=middle), clients=HALF, arrivals=at_once, seed=1, is_rig=True)
        low, high = (low, middle) if storm.busy_s * 1e6 / HALF > join_us else (middle, high)
    return (low + high) / 2
