"""The scenarios of the simulation: each function simulates one process of a site and returns its figures.

All processes of a site are alike, so one of them is simulated with its share of the followers. The same costs and
seed give the same figures.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from benchmarks.capacity.admission import Admission
from benchmarks.capacity.broker import Redis
from benchmarks.capacity.clients import Clients, rig_clients
from benchmarks.capacity.constants import DRAIN_EVERY_S, SLICE, backoff_s, spread_s, within_s
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.hub import Hub, Message, Outlet
from benchmarks.capacity.simulation import Core, FifoQueue, SimulationClock

TIMEOUT_S: Final = 120.0
"""The simulation of reconnecting clients ends after this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """The figures of a time in which no client connects or leaves."""

    core_share: float
    """Of the process's core."""
    redis_share: float
    """Of Redis' core."""
    p50_ms: float
    """From the publisher's call to the follower's read."""
    p99_ms: float
    newest: dict[int, int]
    """The seq of the last message that each follower has read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnection:
    """The figures of clients that reconnect to one process."""

    half_connected_s: float
    all_connected_s: float
    """Infinite: not within `TIMEOUT_S`."""
    busy_s: float
    """CPU time of the process."""
    reads: int
    peak_reads: int
    """The most reads in one second."""
    queue_overflows: int
    """Connections that met a full accept queue and were tried again."""
    fallbacks: int
    """Clients that changed to another transport after too many failures."""


class SimulatedSite:
    """One process with Redis and with followers that read their messages."""

    def __init__(self, costs: Costs, *, read_us: float, is_rig: bool) -> None:
        """`read_us`: what a read costs the one core of all followers; `is_rig`: Redis shares the process's core."""
        self.clock, self.costs = SimulationClock(), costs
        core = Core(self.clock)
        self.hub = Hub(self.clock, costs, core)
        self.redis = Redis(costs, core if is_rig else Core(self.clock))
        self._delays_s: list[float] = []
        self._newest: dict[int, int] = {}
        self._readers, self._read_s, self._is_rig = FifoQueue(), read_us / 1e6, is_rig

    def follow(self, follower: int, topic: int) -> None:
        """Add a follower."""
        self.hub.attach(topic, self._outlet(follower))

    def publish(self, message: Message) -> None:
        """Schedule the message for its instant."""
        self.clock.call_at(message.published_at_s, lambda: self.redis.publish(message))

    def _outlet(self, follower: int) -> Outlet:
        def read(message: Message, at_s: float) -> None:
            read_at_s = self._readers.done_at_s(at_s, self._read_s) if self._read_s else at_s
            self._delays_s.append(read_at_s - message.published_at_s)
            self._newest[follower] = message.seq

        return read

    def figures(self, seconds: float, followers: int) -> Steady:
        """The figures of a simulation that lasted so long."""
        quiet_s = (self.costs.idle_us + self.costs.follower_us * followers) / 1e6
        busy_s = self.hub.core.busy_s - (self.redis.busy_s if self._is_rig else 0.0)
        delays_ms = sorted(1_000 * delay_s for delay_s in self._delays_s) or [0.0]
        lag_ms = self.costs.lag_us / 1_000
        return Steady(
            core_share=busy_s / seconds + quiet_s,
            redis_share=self.redis.busy_s / seconds,
            p50_ms=lag_ms + quantile(delays_ms, 0.5),
            p99_ms=lag_ms + quantile(delays_ms, 0.99),
            newest=self._newest,
        )


def quantile(ordered: list[float], share: float) -> float:
    """The figure that `share` (0 to 1) of the ordered figures do not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def broadcast(costs: Costs, *, followers: int, per_second: float, seconds: float, is_rig: bool = False) -> Steady:
    """All followers follow one task, which reports at a constant rate."""
    site = SimulatedSite(costs, read_us=costs.load_read_us if is_rig else 0.0, is_rig=is_rig)
    for number in range(followers):
        site.follow(number, 0)
    site.redis.subscribe([0], site.hub)
    for seq in range(1, int(per_second * seconds) + 1):
        site.publish(Message(0, seq, (seq - 1) / per_second))
    site.clock.run()
    return site.figures(seconds, followers)


def own_tasks(costs: Costs, *, followers: int, every_s: float, seconds: float, seed: int) -> Steady:
    """Each follower follows its own task, which reports every `every_s` from a random instant on."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    site = SimulatedSite(costs, read_us=0.0, is_rig=False)
    site.redis.subscribe(range(followers), site.hub)
    for number in range(followers):
        site.follow(number, number)
        first_s = chance.random() * every_s
        for seq in range(1, 1 + int((seconds - first_s) / every_s + 1)):
            site.publish(Message(number, seq, first_s + (seq - 1) * every_s))
    site.clock.run()
    return site.figures(seconds, followers)


ArrivalPattern = Callable[[Clients, int], None]
"""Adds so many clients, each at its instant."""


def at_once(clients: Clients, count: int) -> None:
    """All connect at the same instant, as in the rig."""
    for _ in range(count):
        clients.add(0.0)


def after_crash(clients: Clients, count: int) -> None:
    """All have lost their connection at the same instant."""
    for _ in range(count):
        clients.add(backoff_s(1, clients.chance.random()))


def after_drain(clients: Clients, count: int) -> None:
    """The process closed their connections slice by slice, with a hint when to reconnect."""
    hint_s = within_s(count)
    for number in range(count):
        closed_at_s = number // SLICE * DRAIN_EVERY_S
        wait_s = max(backoff_s(1, clients.chance.random()), spread_s(hint_s, clients.chance.random()))
        clients.add(closed_at_s + wait_s)


def reconnect(
    costs: Costs,
    *,
    clients: int,
    arrivals: ArrivalPattern,
    seed: int,
    up_after_s: float = 0.0,
    is_listening: bool = True,
    is_rig: bool = False,
    rows: int = 0,
) -> Reconnection:
    """Clients connect to a process that is up after a while. Each has a topic with `rows` tasks in the database.

    In the rig all clients have the same topic.
    """
    clock = SimulationClock()
    admission = Admission(clock, costs, Core(clock), has_user_topics=not is_rig)
    admission.is_up, admission.is_listening = up_after_s == 0, is_listening
    if not admission.is_up:
        clock.call_at(up_after_s, admission.start)
    chance = random.Random(seed)  # noqa: S311 (no secret)
    if is_rig:
        all_clients = rig_clients(clock, costs, admission, chance)
    else:
        all_clients = Clients(clock, admission, chance, rows=rows)
    arrivals(all_clients, clients)
    clock.run(TIMEOUT_S)
    return _reconnection(admission, all_clients, clients)


def _reconnection(admission: Admission, clients: Clients, count: int) -> Reconnection:
    reads_by_second = Counter(map(int, admission.read_at_s))
    missing = [inf] * (count - len(clients.connected_at_s))
    connected_at_s = sorted(clients.connected_at_s) + missing
    return Reconnection(
        half_connected_s=quantile(connected_at_s, 0.5),
        all_connected_s=connected_at_s[-1],
        busy_s=admission.core.busy_s,
        reads=admission.reads,
        peak_reads=max(reads_by_second.values(), default=0),
        queue_overflows=admission.queue_overflows,
        fallbacks=clients.fallbacks,
    )
