"""How many processes a site needs: each workload at each size, from the costs. Pure; `page.py` shows it.

A process is given as many followers as can come back in time after a crash, or fewer where what is said would
take more of its core than `BUSY`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from benchmarks.capacity.costs import Costs
from benchmarks.capacity.rules import BATCH, REREAD_S, RESTART_S, TOPICS_OF_A_TASK
from benchmarks.capacity.scenarios import (
    Return,
    Steady,
    after_crash,
    after_drain,
    broadcast,
    come_back,
    own_tasks,
)

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
RUNNING: Final = 0.2
"""Of those who follow their own tasks, so many have one that runs; it reports once a second."""
BUSY: Final = 0.6
"""Of a core, at most, in quiet times: what is left is for those who come."""
BACK_S: Final = 15.0
"""Within so long everybody of a process that crashed is to be back."""
SHARES: Final = (1_000, 2_000, 5_000, 10_000, 20_000)
"""Followers of one process, as tried."""
CORES: Final = 8
"""Of a machine; one of them is left to its kernel and all else."""
SEED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """A workload at one size."""

    followers: int
    processes: int
    core_share: float
    """Of each process."""
    p99_ms: float
    redis_messages: float
    """A second, taken in."""
    redis_share: float
    """Of its core."""
    redis_mbit: float
    """A second, out of it."""
    out_mbit: float
    """A second, to all followers, before TLS and TCP."""
    reads: float
    """Of the database, a second, in quiet times; each two queries about up to `BATCH` people, or one about tasks."""

    @property
    def machines(self) -> int:
        """Of `CORES` cores."""
        return math.ceil(self.processes / (CORES - 1))


@cache
def returns(costs: Costs, share: int) -> Return:
    """So many come back to one process that crashed, each with a task that runs."""
    return come_back(costs, clients=share, coming=after_crash, seed=SEED, up_after_s=RESTART_S + costs.boot_s, rows=1)


@cache
def drained(costs: Costs, share: int) -> Return:
    """So many were sent away from one process, and its successor is there."""
    return come_back(costs, clients=share, coming=after_drain, seed=SEED, rows=1)


@cache
def most_followers(costs: Costs) -> int:
    """Of one process: the largest of `SHARES` that is back in time, without a client that goes over to polling."""
    good = [share for share in SHARES if _is_good(returns(costs, share))]
    return max(good, default=min(SHARES))


def _is_good(back: Return) -> bool:
    return back.all_back_s <= BACK_S and not back.stepped_down


def own(costs: Costs, followers: int) -> Sized:
    """Each follows their own tasks."""
    processes, steady = _least_processes(costs, followers, lambda share: _own(costs, share))
    told = RUNNING * followers
    messages = told * TOPICS_OF_A_TASK
    return Sized(
        followers=followers,
        processes=processes,
        core_share=steady.core_share,
        p99_ms=steady.p99_ms,
        redis_messages=messages,
        redis_share=(messages * costs.redis_message_us + told * costs.redis_delivery_us) / 1e6,
        redis_mbit=_mbit(told * costs.message_bytes),
        out_mbit=_mbit(told * costs.frame_bytes),
        reads=processes * math.ceil(followers / processes / BATCH) / REREAD_S,
    )


@cache
def _own(costs: Costs, share: int) -> Steady:
    steady = own_tasks(costs, followers=max(1, round(RUNNING * share)), every_s=1.0, seconds=2.0, seed=SEED)
    reread_us = share * (costs.topic_us + costs.row_us * RUNNING) + math.ceil(share / BATCH) * costs.query_us
    return replace(steady, core_share=steady.core_share + reread_us / REREAD_S / 1e6)


def one(costs: Costs, followers: int, per_second: float) -> Sized:
    """All follow one task, which reports so often."""
    processes, steady = _least_processes(costs, followers, lambda share: _one(costs, share, per_second))
    heard = per_second * processes
    return Sized(
        followers=followers,
        processes=processes,
        core_share=steady.core_share,
        p99_ms=steady.p99_ms,
        redis_messages=per_second * TOPICS_OF_A_TASK,
        redis_share=(per_second * TOPICS_OF_A_TASK * costs.redis_message_us + heard * costs.redis_delivery_us) / 1e6,
        redis_mbit=_mbit(heard * costs.message_bytes),
        out_mbit=_mbit(per_second * followers * costs.frame_bytes),
        reads=processes / REREAD_S,
    )


@cache
def _one(costs: Costs, share: int, per_second: float) -> Steady:
    return broadcast(costs, followers=share, per_second=per_second, seconds=2.0)


def _least_processes(costs: Costs, followers: int, act: Callable[[int], Steady]) -> tuple[int, Steady]:
    """So many that each is given no more than it can take, and what each does then."""
    processes = math.ceil(followers / most_followers(costs))
    while (steady := act(math.ceil(followers / processes))).core_share > BUSY:
        processes = math.ceil(1.15 * processes)
    return processes, steady


def _mbit(bytes_per_s: float) -> float:
    return bytes_per_s * 8 / 1e6
