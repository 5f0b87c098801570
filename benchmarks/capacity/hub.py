"""What a process of the live server does with what is told: its hub and its driver, on an event loop with one core.

Follows `core/hub.py`, `live/driver.py` and the Redis listener step by step, with costs for the work. Tasks and their
topics are one thing here, with a number for a name. Knows neither Redis nor how followers have come (`door.py`).
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import NamedTuple, Protocol

from benchmarks.capacity.clock import Clock, Core
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.rules import PACE_S, REST_S, SLICE


class Message(NamedTuple):
    """A snapshot on its way."""

    topic: int
    seq: int
    published_at_s: float


class Outlet(Protocol):
    """Where a follower's frames go."""

    def __call__(self, message: Message, at_s: float) -> None:
        """It was written then."""


@dataclass(slots=True, eq=False)
class Follower:
    """A connection that is attached."""

    outlet: Outlet
    free_at_s: float = 0.0
    seq: int = 0
    """Of the newest that it was sent; nothing older goes to it."""
    waiting: Message | None = None


class Hub:
    """See the module."""

    def __init__(self, clock: Clock, costs: Costs, core: Core) -> None:
        self.core = core
        self.frames = self.deliveries = 0
        self._clock, self._costs = clock, costs
        self._audience: dict[int, list[Follower]] = {}
        self._inbox: list[Message] = []
        self._heard_at_s = -inf
        self._rounds: deque[tuple[Message, list[Follower], float]] = deque()
        self._held: dict[int, Message] = {}
        self._free_at_s: dict[int, float] = {}
        self._behind: dict[Follower, None] = {}
        self._is_turning = False

    def attach(self, topic: int, outlet: Outlet) -> Follower:
        """Somebody follows a task from now on."""
        follower = Follower(outlet)
        self._audience.setdefault(topic, []).append(follower)
        return follower

    def hear(self, message: Message) -> None:
        """It has come on Redis' line: it is read now, or with what comes within a moment, where much does."""
        self._inbox.append(message)
        if len(self._inbox) > 1:
            return
        is_busy = self._clock.now_s - self._heard_at_s < 2 * REST_S
        if is_busy:
            self._clock.after(REST_S, self._read_on)
        else:
            self._read_on()

    def _read_on(self) -> None:
        wake_us = self._costs.wake_us if self.core.is_idle else 0.0
        self.core.do(lambda: self._read_inbox(wake_us))

    def _read_inbox(self, wake_us: float) -> float:
        self._heard_at_s = self._clock.now_s
        messages, self._inbox = self._inbox, []
        for message in messages:
            self._tell(message)
        return self._turn((wake_us + self._costs.envelope_us * len(messages)) / 1e6)

    def _tell(self, message: Message) -> None:
        """Of a task that was told of a moment ago, the newest waits for the tick."""
        now_s, topic = self._clock.now_s, message.topic
        if topic not in self._audience:
            return
        if now_s < self._free_at_s.get(topic, now_s):
            held = self._held.get(topic)
            if held is None or message.seq > held.seq:
                self._held[topic] = message
            return
        self._free_at_s[topic] = now_s + PACE_S
        self._rounds.append((message, self._audience[topic], now_s + PACE_S))
        self._clock.after(PACE_S, lambda: self._release(topic))

    def _release(self, topic: int) -> None:
        if topic in self._held:
            self.core.do(lambda: self._tell_held(topic))

    def _tell_held(self, topic: int) -> float:
        held = self._held.pop(topic, None)
        if held is not None:
            self._tell(held)
        return self._turn(self._costs.wake_us / 1e6)

    def _turn(self, spent_s: float) -> float:
        """Write to as many as is quick, after `spent_s` of this job; answers all that it has taken."""
        most = SLICE
        while self._rounds and most > 0:
            message, audience, free_at_s = self._rounds.popleft()
            some, rest = audience[:most], audience[most:]
            if rest:
                self._rounds.appendleft((message, rest, free_at_s))
            most -= len(some)
            spent_s = self._write(message, some, free_at_s, spent_s)
        spent_s = self._catch_up(spent_s, most)
        if self._rounds:
            self._turn_again()
        return spent_s

    def _turn_again(self) -> None:
        if not self._is_turning:
            self._is_turning = True
            self.core.do(self._another_turn)

    def _another_turn(self) -> float:
        self._is_turning = False
        return self._turn(0.0)

    def _write(self, message: Message, some: Iterable[Follower], free_at_s: float, spent_s: float) -> float:
        now_s, each_s = self._clock.now_s, self._costs.delivery_us / 1e6
        spent_s += self._costs.frame_us / 1e6
        self.frames += 1
        for follower in some:
            if message.seq <= follower.seq:
                continue
            if follower.free_at_s > now_s or follower.waiting is not None:
                self._wait(follower, message)
                continue
            spent_s += each_s
            follower.free_at_s, follower.seq = free_at_s, message.seq
            self.deliveries += 1
            follower.outlet(message, now_s + spent_s)
        return spent_s

    def _wait(self, follower: Follower, message: Message) -> None:
        if follower.waiting is None or message.seq > follower.waiting.seq:
            follower.waiting = message
        if follower not in self._behind:
            self._behind[follower] = None
            self._clock.at(follower.free_at_s, self._turn_again)

    def _catch_up(self, spent_s: float, most: int) -> float:
        """Those for whom something waits get it in a frame of their own."""
        now_s = self._clock.now_s
        due = [follower for follower in self._behind if follower.free_at_s <= now_s] if self._behind else []
        each_s = (self._costs.frame_us + self._costs.delivery_us) / 1e6
        for follower in due[: max(1, most)]:
            del self._behind[follower]
            assert follower.waiting is not None
            follower.seq = follower.waiting.seq
            spent_s += each_s
            self.frames, self.deliveries = self.frames + 1, self.deliveries + 1
            follower.outlet(follower.waiting, now_s + spent_s)
            follower.waiting, follower.free_at_s = None, now_s + PACE_S
        if len(due) > max(1, most):
            self._turn_again()
        return spent_s
