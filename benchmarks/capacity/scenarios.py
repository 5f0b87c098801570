"""What is done to a simulated site, and what is read of it: one function a scenario, each from its costs and a seed.

Processes of a site are alike: one of them is simulated, with its share of the followers.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from benchmarks.capacity import crowd
from benchmarks.capacity.broker import Redis
from benchmarks.capacity.clock import Clock, Core, Lane
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.door import Door
from benchmarks.capacity.hub import Hub, Message, Outlet
from benchmarks.capacity.rules import DRAIN_EVERY_S, SLICE, backoff_s, spread_s, within_s

PATIENCE_S: Final = 120.0
"""A return that has not ended by then does not end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steady:
    """Of a time in which nobody comes or goes."""

    core_share: float
    """Of the process's core."""
    redis_share: float
    p50_ms: float
    """From the publisher's call to the follower's read."""
    p99_ms: float
    newest: dict[int, int]
    """Of each follower, by number: the last message that it has seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """Of a crowd that comes back."""

    half_back_s: float
    all_back_s: float
    """Infinite: not within `PATIENCE_S`."""
    busy_s: float
    """Work of the process."""
    reads: int
    peak_reads: int
    """In the second that has most."""
    turned_away: int
    """Connections that found the kernel's queue full, and were tried for again."""
    stepped_down: int
    """Clients that went over to another transport, having failed too often."""


class Site:
    """One process, with Redis, and followers who read what they get."""

    def __init__(self, costs: Costs, *, read_us: float, is_rig: bool) -> None:
        """`is_rig`: Redis is on the same core."""
        self.clock, self.costs = Clock(), costs
        core = Core(self.clock)
        self.hub = Hub(self.clock, costs, core)
        self.redis = Redis(costs, core if is_rig else Core(self.clock))
        self.late_s: list[float] = []
        self.newest: dict[int, int] = {}
        self._lane, self._read_s, self._is_rig = Lane(), read_us / 1e6, is_rig

    def follow(self, follower: int, topic: int) -> None:
        """One more."""
        self.hub.attach(topic, self._outlet(follower))

    def _outlet(self, follower: int) -> Outlet:
        def read(message: Message, at_s: float) -> None:
            done_s = self._lane.passes(at_s, self._read_s) if self._read_s else at_s
            self.late_s.append(done_s - message.published_at_s)
            self.newest[follower] = message.seq

        return read

    def told(self, seconds: float, followers: int) -> Steady:
        """What was seen in so many seconds."""
        quiet_s = (self.costs.idle_us + self.costs.follower_us * followers) / 1e6
        busy_s = self.hub.core.busy_s - (self.redis.busy_s if self._is_rig else 0.0)
        late_ms = sorted(1_000 * late_s for late_s in self.late_s) or [0.0]
        lag_ms = self.costs.lag_us / 1_000
        return Steady(
            core_share=busy_s / seconds + quiet_s,
            redis_share=self.redis.busy_s / seconds,
            p50_ms=lag_ms + within(late_ms, 0.5),
            p99_ms=lag_ms + within(late_ms, 0.99),
            newest=self.newest,
        )


def within(ordered: list[float], share: float) -> float:
    """The least figure that so much of them does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def broadcast(costs: Costs, *, followers: int, per_second: float, seconds: float, is_rig: bool = False) -> Steady:
    """All follow one task, which reports at a steady pace."""
    site = Site(costs, read_us=costs.load_read_us if is_rig else 0.0, is_rig=is_rig)
    for number in range(followers):
        site.follow(number, 0)
    site.redis.follow([0], site.hub)
    count = int(per_second * seconds)
    for seq in range(1, count + 1):
        at_s = (seq - 1) / per_second
        _publish(site, Message(0, seq, at_s))
    site.clock.run()
    return site.told(seconds, followers)


def _publish(site: Site, message: Message) -> None:
    site.clock.at(message.published_at_s, lambda: site.redis.publish(message))


def own_tasks(costs: Costs, *, followers: int, every_s: float, seconds: float, seed: int) -> Steady:
    """Each follows a task of their own, which reports at a pace, from a moment of chance on."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    site = Site(costs, read_us=0.0, is_rig=False)
    site.redis.follow(range(followers), site.hub)
    for number in range(followers):
        site.follow(number, number)
        first_s = chance.random() * every_s
        for seq in range(1, 1 + int((seconds - first_s) / every_s + 1)):
            _publish(site, Message(number, seq, first_s + (seq - 1) * every_s))
    site.clock.run()
    return site.told(seconds, followers)


Coming = Callable[[crowd.Crowd, int], None]
"""Has so many come, each at its moment."""


def at_once(those: crowd.Crowd, clients: int) -> None:
    """The rig's storm."""
    for _ in range(clients):
        those.comes(0.0)


def after_crash(those: crowd.Crowd, clients: int) -> None:
    """All have lost their line at the same moment."""
    for _ in range(clients):
        those.comes(backoff_s(1, those.chance.random()))


def after_drain(those: crowd.Crowd, clients: int) -> None:
    """All were sent away in slices, with a hint."""
    hint_s = within_s(clients)
    for number in range(clients):
        told_s = number // SLICE * DRAIN_EVERY_S
        waits_s = max(backoff_s(1, those.chance.random()), spread_s(hint_s, those.chance.random()))
        those.comes(told_s + waits_s)


def come_back(
    costs: Costs,
    *,
    clients: int,
    coming: Coming,
    seed: int,
    up_after_s: float = 0.0,
    is_held: bool = True,
    is_rig: bool = False,
    rows: int = 0,
) -> Return:
    """A crowd comes to a process that is up after a while; each has a topic of which the database knows `rows` tasks.

    The rig's all share one.
    """
    clock = Clock()
    door = Door(clock, costs, Core(clock), is_of_people=not is_rig)
    door.is_up, door.is_held = up_after_s == 0, is_held
    if not door.is_up:
        clock.at(up_after_s, door.come_up)
    chance = random.Random(seed)  # noqa: S311 (no secret)
    those = crowd.rig(clock, costs, door, chance) if is_rig else crowd.Crowd(clock, door, chance, rows=rows)
    coming(those, clients)
    clock.run(PATIENCE_S)
    return _returned(door, those.back_at_s, clients, those.stepped_down)


def _returned(door: Door, back_at_s: list[float], clients: int, stepped_down: int) -> Return:
    seconds = Counter(map(int, door.read_at_s))
    missing = [inf] * (clients - len(back_at_s))
    back_at_s = sorted(back_at_s) + missing
    return Return(
        half_back_s=within(back_at_s, 0.5),
        all_back_s=back_at_s[-1],
        busy_s=door.core.busy_s,
        reads=door.reads,
        peak_reads=max(seconds.values(), default=0),
        turned_away=door.turned_away,
        stepped_down=stepped_down,
    )
