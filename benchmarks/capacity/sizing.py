"""How many processes a site needs, for each workload and size. Computed from the costs alone; `page.py` shows it.

A process gets as many followers as can reconnect in time after a crash; fewer if their messages would take more of
its core than `MAX_CORE_SHARE`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from benchmarks.capacity import scenarios
from benchmarks.capacity.constants import BATCH, REREAD_S, RESTART_S, TOPICS_OF_A_TASK
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.scenarios import Reconnection, Steady, broadcast, reconnect

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
"""Followers of a site."""
FOLLOWERS_PER_PROCESS: Final = (1_000, 2_000, 5_000, 10_000, 20_000)
"""The numbers that are tried."""
RUNNING_SHARE: Final = 0.2
"""Of the followers of their own tasks, the share with a running task; it reports once a second."""
MAX_CORE_SHARE: Final = 0.6
"""Of a core, in quiet times; the rest is for clients that connect."""
RECONNECT_WITHIN_S: Final = 15.0
"""After a crash, all followers of the process must be connected within this time."""
CORES: Final = 8
"""Of a machine; one of them is for the kernel and everything else."""
SEED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """What a workload needs at one size."""

    followers: int
    processes: int
    core_share: float
    """Of each process."""
    p99_ms: float
    redis_messages: float
    """Received by Redis, per second."""
    redis_share: float
    """Of Redis' core."""
    redis_mbit: float
    """Sent by Redis, per second."""
    out_mbit: float
    """To all followers, per second, before TLS and TCP."""
    reads: float
    """Of the database, per second, in quiet times: two queries about up to `BATCH` users each, or one about tasks."""

    @property
    def machines(self) -> int:
        """Of `CORES` cores."""
        return math.ceil(self.processes / (CORES - 1))


@cache
def after_crash(costs: Costs, clients: int) -> Reconnection:
    """The clients reconnect to a process that crashed; each has a running task."""
    up_after_s = RESTART_S + costs.boot_s
    return reconnect(costs, clients=clients, arrivals=scenarios.after_crash, seed=SEED, up_after_s=up_after_s, rows=1)


@cache
def after_drain(costs: Costs, clients: int) -> Reconnection:
    """The clients reconnect after a drain, to a successor that is up."""
    return reconnect(costs, clients=clients, arrivals=scenarios.after_drain, seed=SEED, rows=1)


@cache
def max_followers(costs: Costs) -> int:
    """Of one process: the largest of `FOLLOWERS_PER_PROCESS` that reconnects in time and without any fallback."""
    possible = [count for count in FOLLOWERS_PER_PROCESS if _is_in_time(after_crash(costs, count))]
    return max(possible, default=min(FOLLOWERS_PER_PROCESS))


def _is_in_time(reconnection: Reconnection) -> bool:
    return reconnection.all_connected_s <= RECONNECT_WITHIN_S and not reconnection.fallbacks


def own_tasks(costs: Costs, followers: int) -> Sizing:
    """Workload (a): each follower follows their own tasks."""
    processes, steady = _least_processes(costs, followers, lambda share: _own_tasks(costs, share))
    reports = RUNNING_SHARE * followers
    messages = reports * TOPICS_OF_A_TASK
    return Sizing(
        followers=followers,
        processes=processes,
        core_share=steady.core_share,
        p99_ms=steady.p99_ms,
        redis_messages=messages,
        redis_share=(messages * costs.redis_message_us + reports * costs.redis_delivery_us) / 1e6,
        redis_mbit=_mbit(reports * costs.message_bytes),
        out_mbit=_mbit(reports * costs.frame_bytes),
        reads=processes * math.ceil(followers / processes / BATCH) / REREAD_S,
    )


@cache
def _own_tasks(costs: Costs, share: int) -> Steady:
    running = max(1, round(RUNNING_SHARE * share))
    steady = scenarios.own_tasks(costs, followers=running, every_s=1.0, seconds=2.0, seed=SEED)
    reread_us = share * (costs.topic_us + costs.row_us * RUNNING_SHARE) + math.ceil(share / BATCH) * costs.query_us
    return replace(steady, core_share=steady.core_share + reread_us / REREAD_S / 1e6)


def one_task(costs: Costs, followers: int, per_second: float) -> Sizing:
    """Workload (b): all followers follow one task, which reports `per_second` times a second."""
    processes, steady = _least_processes(costs, followers, lambda share: _one_task(costs, share, per_second))
    messages, deliveries = per_second * TOPICS_OF_A_TASK, per_second * processes
    return Sizing(
        followers=followers,
        processes=processes,
        core_share=steady.core_share,
        p99_ms=steady.p99_ms,
        redis_messages=messages,
        redis_share=(messages * costs.redis_message_us + deliveries * costs.redis_delivery_us) / 1e6,
        redis_mbit=_mbit(deliveries * costs.message_bytes),
        out_mbit=_mbit(per_second * followers * costs.frame_bytes),
        reads=processes / REREAD_S,
    )


@cache
def _one_task(costs: Costs, share: int, per_second: float) -> Steady:
    return broadcast(costs, followers=share, per_second=per_second, seconds=2.0)


def _least_processes(costs: Costs, followers: int, simulate: Callable[[int], Steady]) -> tuple[int, Steady]:
    """The number of processes, none of which is overloaded, and the figures of each."""
    processes = math.ceil(followers / max_followers(costs))
    while (steady := simulate(math.ceil(followers / processes))).core_share > MAX_CORE_SHARE:
        processes = math.ceil(1.15 * processes)
    return processes, steady


def _mbit(bytes_per_s: float) -> float:
    return bytes_per_s * 8 / 1e6
