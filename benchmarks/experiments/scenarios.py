"""The scenarios: each function does one thing to a running server for `measure_s` seconds and returns its figures.

Costs are CPU time by the scheduler's clock, which other load on the machine disturbs less than wall time. The
figures' meaning is in docs/performance.md.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from benchmarks.rig import machine
from benchmarks.rig.running import RunningServer

Figures = dict[str, float]
Scenario = Callable[[RunningServer, float], Figures]
"""Takes the server and the seconds that a measurement lasts."""

HANDSHAKES_IN_FLIGHT: Final = 64
"""Handshakes at a time, except where all clients connect at once."""
WARM_UP: Final = 50
"""Followers that connect before the measured ones, so that one-time costs are not measured."""
BROADCASTS_IN_FLIGHT: Final = 4
"""Undelivered broadcasts: enough to keep the server busy, too few for a queue."""
MESSAGES_IN_FLIGHT: Final = 256
"""The same for messages that have one follower each."""
BURST: Final = 300
BURST_WITHIN_S: Final = 5.0
SETTLE_S: Final = 0.5


def connect(count: int, *, in_flight: int = HANDSHAKES_IN_FLIGHT) -> Scenario:
    """The scenario in which `count` followers connect, `in_flight` at a time; 0: all at once."""
    return partial(_connect, count=count, in_flight=in_flight)


def _connect(server: RunningServer, _measure_s: float, *, count: int, in_flight: int) -> Figures:
    """The cost of a handshake and the memory of a quiet connection."""
    server.load.connect(WARM_UP, in_flight=HANDSHAKES_IN_FLIGHT)
    server.load.idle(SETTLE_S)
    resident = machine.resident_bytes(server.pid)
    cost = server.cost(lambda: server.load.connect(count, in_flight=in_flight))
    server.load.idle(SETTLE_S)
    growth = machine.resident_bytes(server.pid) - resident
    return {
        "handshake_us": cost.server_us / count,
        "all_connected_s": cost.report["wall_s"],
        "not_connected": cost.report["refused"] + cost.report["late"],
        "kib_per_follower": growth / count / 1024,
    }


def connect_one(server: RunningServer, _measure_s: float) -> Figures:
    """A single follower connects."""
    return {"not_connected": 1 - server.load.connect(1, in_flight=1)["connected"]}


def broadcast(server: RunningServer, measure_s: float) -> Figures:
    """All followers get every message; the server is busy, and no queue grows without bound."""
    server.load.publish_closed_loop(SETTLE_S, in_flight=BROADCASTS_IN_FLIGHT)
    cost = server.cost(lambda: server.load.publish_closed_loop(measure_s, in_flight=BROADCASTS_IN_FLIGHT))
    report = cost.report
    return {
        "us_per_delivery": cost.server_us / max(1, report["deliveries"]),
        "us_per_frame": cost.server_us / max(1, report["frames"]),
        "deliveries_per_frame": report["deliveries"] / max(1, report["frames"]),
        "deliveries_per_s": report["deliveries"] / max(report["read_s"], 1e-3),
        "lost": report["skipped"] + report["missing"] * report["followers"],
    }


def constant_rate(
    server: RunningServer, measure_s: float, *, per_second: float, label: str = "constant_rate", times: float = 1.0
) -> Figures:
    """Messages at a rate that all followers keep up with: latency, CPU time and the share of a core.

    Latency is from the publisher's call to the follower's read. The measurement lasts `times` as long as others. The
    pause before it lets earlier messages, and the pacing that they caused, pass. `label` begins the figures' names.
    """
    server.load.idle(SETTLE_S)
    cost = server.cost(lambda: server.load.publish_at_rate(per_second, times * measure_s))
    report = cost.report
    return {
        f"{label}_p50_ms": report["p50_us"] / 1_000,
        f"{label}_p99_ms": report["p99_us"] / 1_000,
        f"{label}_us_per_delivery": cost.server_us / max(1, report["deliveries"]),
        f"{label}_us_per_frame": cost.server_us / max(1, report["frames"]),
        f"{label}_server_us_per_message": cost.server_us / max(1, report["published"]),
        f"{label}_redis_us_per_message": cost.redis_us / max(1, report["published"]),
        f"{label}_us_per_message": (cost.server_us + cost.redis_us) / max(1, report["published"]),
        f"{label}_core_share": cost.server_us / 1e6 / report["wall_s"],
        f"{label}_saw_last_share": report["saw_last"] / max(1, report["followers"]),
    }


def own_topics(server: RunningServer, measure_s: float) -> Figures:
    """Each message has one follower: CPU time of the server and of Redis, with many messages in flight."""
    server.load.publish_closed_loop(SETTLE_S, in_flight=MESSAGES_IN_FLIGHT)
    cost = server.cost(lambda: server.load.publish_closed_loop(measure_s, in_flight=MESSAGES_IN_FLIGHT))
    report = cost.report
    return {
        "own_server_us": cost.server_us / max(1, report["published"]),
        "own_redis_us": cost.redis_us / max(1, report["published"]),
        "own_us": (cost.server_us + cost.redis_us) / max(1, report["published"]),
        "own_per_s": report["published"] / report["wall_s"],
        "own_deliveries_per_frame": report["deliveries"] / max(1, report["frames"]),
    }


def burst(server: RunningServer, _measure_s: float) -> Figures:
    """Many messages at once for all followers: the share of followers that read the last one in time."""
    report = server.load.publish_burst(BURST, BURST_WITHIN_S)
    return {"burst_saw_last_share": report["saw_last"] / max(1, report["followers"]), "burst_s": report["read_s"]}


def idle(server: RunningServer, _measure_s: float, *, idle_s: float) -> Figures:
    """No messages, only heartbeats."""
    cost = server.cost(lambda: server.load.idle(idle_s))
    return {"idle_core_share": cost.server_us / 1e6 / idle_s, "idle_closed": cost.report["closed"]}
