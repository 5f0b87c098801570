"""What is done to a server under test, and what is read meanwhile: one function a scenario.

Each takes the `Site` where a server is up and its load waits, and answers figures by name. Costs are CPU time by the
scheduler's clock, which a busy neighbour disturbs less than it does the wall clock. What the figures mean, and why
they are taken so, is in docs/performance.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.rig import machine
from benchmarks.rig.load import Load, Seen

Figures = dict[str, float]

FLIGHT: Final = 64
"""Handshakes at once, where it is not a storm."""
WARM: Final = 50
"""Followers that come first, so that what a server sets up once is not counted."""
UNDER_WAY: Final = 4
"""Broadcasts at once, where the server is to be kept busy without a queue."""
UNDER_WAY_EACH: Final = 256
"""The same, where each message is for one follower."""
BURST: Final = 300
BURST_PATIENCE_S: Final = 5.0
SETTLE_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server that is up, its Redis, and its load."""

    load: Load
    server: int
    """Its process id."""
    redis: int
    seconds: float
    """How long a measure takes."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What `act` cost, and what the load saw of it."""

    seen: Seen
    server_us: float
    redis_us: float


Scenario = Callable[[Site], Figures]


def cost(site: Site, act: Callable[[], Seen]) -> Cost:
    """CPU time of the server and of Redis while `act` runs."""
    server, redis = machine.cpu_us(site.server), machine.cpu_us(site.redis)
    seen = act()
    return Cost(seen, machine.cpu_us(site.server) - server, machine.cpu_us(site.redis) - redis)


def joined(site: Site, *, count: int, flight: int = FLIGHT) -> Figures:
    """`count` followers join, at most `flight` at once (0: all); what a handshake and a quiet connection cost."""
    site.load.connect(WARM, flight=FLIGHT)
    site.load.idle(SETTLE_S)
    resident = machine.resident_bytes(site.server)
    spent = cost(site, lambda: site.load.connect(count, flight=flight))
    site.load.idle(SETTLE_S)
    grown = machine.resident_bytes(site.server) - resident
    return {
        "handshake_us": spent.server_us / count,
        "all_joined_s": spent.seen["wall_s"],
        "turned_away": spent.seen["refused"] + spent.seen["late"],
        "kib_per_follower": grown / count / 1024,
    }


def alone(site: Site) -> Figures:
    """One follower, and nobody else."""
    return {"turned_away": 1 - site.load.connect(1, flight=1)["connected"]}


def broadcast(site: Site) -> Figures:
    """A few messages for everyone under way at any time: the server is busy, nothing queues without bound."""
    site.load.publish_closed(SETTLE_S, flight=UNDER_WAY)
    spent = cost(site, lambda: site.load.publish_closed(site.seconds, flight=UNDER_WAY))
    seen = spent.seen
    return {
        "us_per_delivery": spent.server_us / max(1, seen["deliveries"]),
        "us_per_frame": spent.server_us / max(1, seen["frames"]),
        "deliveries_per_frame": seen["deliveries"] / max(1, seen["frames"]),
        "deliveries_per_s": seen["deliveries"] / max(seen["read_s"], 1e-3),
        "lost": seen["skipped"] + seen["missing"] * seen["followers"],
    }


def steady(site: Site, *, per_second: float, label: str = "steady", times: float = 1.0) -> Figures:
    """A pace that everyone keeps up with: from the publisher's call to the follower's read, and the share of a core.

    `times`: as long as other measures. What went before has been forgotten by then, also by a server that has a pace.
    """
    site.load.idle(SETTLE_S)
    spent = cost(site, lambda: site.load.publish_at(per_second, times * site.seconds))
    seen = spent.seen
    return {
        f"{label}_p50_ms": seen["p50_us"] / 1_000,
        f"{label}_p99_ms": seen["p99_us"] / 1_000,
        f"{label}_us_per_delivery": spent.server_us / max(1, seen["deliveries"]),
        f"{label}_us_per_frame": spent.server_us / max(1, seen["frames"]),
        f"{label}_server_us_per_message": spent.server_us / max(1, seen["published"]),
        f"{label}_redis_us_per_message": spent.redis_us / max(1, seen["published"]),
        f"{label}_us_per_message": (spent.server_us + spent.redis_us) / max(1, seen["published"]),
        f"{label}_core_share": spent.server_us / 1e6 / seen["wall_s"],
        f"{label}_saw_last_share": seen["saw_last"] / max(1, seen["followers"]),
    }


def own_topics(site: Site) -> Figures:
    """Each message is for one follower: what it costs the server and Redis, with as much under way as they like."""
    site.load.publish_closed(SETTLE_S, flight=UNDER_WAY_EACH)
    spent = cost(site, lambda: site.load.publish_closed(site.seconds, flight=UNDER_WAY_EACH))
    seen = spent.seen
    return {
        "own_server_us": spent.server_us / max(1, seen["published"]),
        "own_redis_us": spent.redis_us / max(1, seen["published"]),
        "own_us": (spent.server_us + spent.redis_us) / max(1, seen["published"]),
        "own_per_s": seen["published"] / seen["wall_s"],
        "own_deliveries_per_frame": seen["deliveries"] / max(1, seen["frames"]),
    }


def burst(site: Site) -> Figures:
    """Many at once for everyone: the share of followers that have seen the last one in time."""
    seen = site.load.publish_burst(BURST, BURST_PATIENCE_S)
    return {"burst_saw_last_share": seen["saw_last"] / max(1, seen["followers"]), "burst_s": seen["read_s"]}


def idle(site: Site, *, seconds: float) -> Figures:
    """Nothing is said but heartbeats."""
    spent = cost(site, lambda: site.load.idle(seconds))
    return {"idle_core_share": spent.server_us / 1e6 / seconds, "idle_closed": spent.seen["closed"]}


def join(count: int, *, flight: int = FLIGHT) -> Scenario:
    """`joined` with its figures."""
    return partial(joined, count=count, flight=flight)
