"""What the parts cost, measured through the rig with 2,000 followers at most.

CPU time by the scheduler's clock throughout, in microseconds; the medians of several short readings, as the speed of
a shared machine changes by the second. What cannot be read by itself is what remains of something that can.
"""

import json
import statistics
import subprocess
import time
from collections import defaultdict
from dataclasses import replace
from typing import Final

from benchmarks.capacity import rig, strangers
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.rig import Up
from benchmarks.capacity.scenarios import at_once, come_back
from benchmarks.contenders.telltale import LiveTask, LiveWebSocket
from benchmarks.rig import machine
from benchmarks.rig.contender import ROOT, place

FEW: Final = 2_000
"""Followers, besides the one who was there first."""
HALF: Final = FEW // 2
STRANGERS: Final = 300
EARS: Final = 8
OWN: Final = 500
OWN_PER_S: Final = 50.0
OWN_UNDER_WAY: Final = 256
"""Messages, where Redis is kept busy by a publisher that waits for some answers."""
OWN_MOST_PER_S: Final = 2_000.0
"""Each follower's topic is then told of four times a second, which is below the pace."""
BURST: Final = 2_000

Readings = defaultdict[str, list[float]]
"""Of each figure, one after the other."""


def own_topics(readings: Readings) -> None:
    """One after the other, each with a topic of their own: what it costs to be woken for a message."""
    with rig.up(LiveWebSocket(), followers=OWN, topics=OWN) as it:
        it.load.connect(OWN, flight=64)
        it.load.publish_at(OWN, 1.0)
        it.load.idle(0.3)
        readings["idle_us"].append(rig.spent(it, lambda: it.load.idle(1.0)).server_us)
        slow = rig.spent(it, lambda: it.load.publish_at(OWN_PER_S, 1.0))
        readings["own_us"].append(slow.server_us / slow.seen["published"])
        readings["own_p50_us"].append(slow.seen["p50_us"])
        readings["own_load_us"].append(slow.load_us / slow.seen["published"])
        fast = rig.spent(it, lambda: it.load.publish_at(OWN_MOST_PER_S, 1.0))
        # Not for the calibration: `check.py` predicts it.
        readings["own_core_share"].append(fast.server_us / 1e6 / fast.seen["wall_s"])
        most = rig.spent(it, lambda: it.load.publish_closed(0.6, flight=OWN_UNDER_WAY))
        readings["redis_us"].append(most.redis_us / most.seen["published"])


def alone(it: Up, readings: Readings) -> None:
    """One follower of a task that says far too much, and Redis with others who hear it."""
    it.load.connect(1, flight=1)
    it.load.publish_at(10.0, 0.5)
    it.load.idle(0.3)
    burst = rig.spent(it, lambda: it.load.publish_burst(BURST, 5.0))
    readings["envelope_us"].append(burst.server_us / BURST)
    readings["redis_burst_us"].append(burst.redis_us / BURST)
    with strangers.ears(it.place.redis_port, EARS):
        more = rig.spent(it, lambda: it.load.publish_burst(BURST, 5.0))
    readings["redis_with_ears_us"].append(more.redis_us / BURST)
    it.load.idle(0.3)


def handshakes(it: Up, readings: Readings) -> None:
    """In parts, by strangers; and whole, by half of the followers at once: to be called twice, at different moments."""
    before = machine.cpu_us(it.server)
    with strangers.callers(it.place.port, STRANGERS) as callers:
        time.sleep(0.3)
        accepted = machine.cpu_us(it.server)
        strangers.ask(callers)
        time.sleep(0.1)
        upgraded = machine.cpu_us(it.server)
    readings["accept_us"].append((accepted - before) / STRANGERS)
    readings["upgrade_us"].append((upgraded - accepted) / STRANGERS)
    it.load.idle(0.5)
    resident = machine.resident_bytes(it.server)
    joined = rig.spent(it, lambda: it.load.connect(HALF, flight=0))
    readings["join_us"].append(joined.server_us / HALF)
    readings["load_join_us"].append(joined.load_us / HALF)
    it.load.idle(0.5)
    readings["follower_bytes"].append((machine.resident_bytes(it.server) - resident) / HALF)


def quiet(it: Up, readings: Readings) -> None:
    """Of a server with all of them, when nothing is said."""
    readings["boot_s"].append(it.boot_s)
    readings["message_bytes"].append(len(it.contender.sample(it.place)))
    # The first frame to each is dearer than all others.
    it.load.publish_at(1.0, 1.0)
    it.load.idle(0.5)
    readings["quiet_us"].append(rig.spent(it, lambda: it.load.idle(1.0)).server_us)


def broadcasts(it: Up, readings: Readings) -> None:
    """To all of them, at a modest pace."""
    told = rig.spent(it, lambda: it.load.publish_at(2.0, 2.0))
    readings["broadcast_us"].append(told.server_us / told.seen["published"])
    readings["broadcast_s"].append(told.seen["wall_s"] / told.seen["published"])
    readings["load_read_us"].append(told.load_us / told.seen["deliveries"])
    readings["frame_bytes"].append(told.seen["bytes"] / told.seen["deliveries"])
    it.load.idle(0.2)


def reads() -> dict[str, float]:
    """Of the store: see `reading.py`."""
    contender = LiveTask()
    with place() as here:
        contender.prepare(here)
        command = machine.pinned(machine.SERVER_CORE, [contender.command(here)[0], "-m", "benchmarks.capacity.reading"])
        done = subprocess.run(command, cwd=ROOT, env=contender.env(here), check=True, stdout=subprocess.PIPE)
        figures: dict[str, float] = json.loads(done.stdout)
        return figures


def costs(readings: Readings, read: dict[str, float]) -> Costs:
    """All of it, from the medians."""
    of = {name: statistics.median(each) for name, each in readings.items()}
    follower_us = max(0.0, (of["quiet_us"] - of["idle_us"]) / FEW)
    broadcast_us = of["broadcast_us"] - of["quiet_us"] * of["broadcast_s"]
    own_us = of["own_us"] - of["idle_us"] / OWN_PER_S
    delivery_us = (broadcast_us - own_us) / (FEW - 1)
    redis_delivery_us = max(0.0, (of["redis_with_ears_us"] - of["redis_burst_us"]) / EARS)
    made = Costs(
        wake_us=max(0.0, own_us - of["envelope_us"] - read["frame_us"] - delivery_us),
        delivery_us=delivery_us,
        admit_us=0.0,
        follower_us=follower_us,
        redis_message_us=max(0.0, of["redis_us"] - redis_delivery_us),
        redis_delivery_us=redis_delivery_us,
        lag_us=max(0.0, of["own_p50_us"] - own_us - of["own_load_us"]),
        **{name: of[name] for name in ("envelope_us", "accept_us", "upgrade_us", "idle_us", "boot_s")},
        **{
            name: of[name]
            for name in ("follower_bytes", "message_bytes", "frame_bytes", "load_join_us", "load_read_us")
        },
        **read,
    )
    return replace(made, admit_us=_solved(made, of["join_us"]))


def _solved(made: Costs, join_us: float) -> float:
    """What admitting must cost, for a storm of half of them to cost what it did: reads cost as much as others leave."""
    low, high = 0.0, join_us
    for _ in range(7):
        middle = (low + high) / 2
        storm = come_back(replace(made, admit_us=middle), clients=HALF, coming=at_once, seed=1, is_rig=True)
        low, high = (low, middle) if storm.busy_s * 1e6 / HALF > join_us else (middle, high)
    return (low + high) / 2
