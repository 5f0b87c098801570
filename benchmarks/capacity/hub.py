"""How a process of the live server delivers messages: its hub and its driver, on an event loop with one core.

Follows `core/hub.py`, `live/driver.py` and the Redis listener step by step, with costs for the work. A task and its
topic are the same here, named by a number. Knows neither Redis nor how followers connect (`admission.py`).
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import NamedTuple, Protocol

from benchmarks.capacity.constants import PACE_S, REST_S, SLICE
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.simulation import Core, SimulationClock


class Message(NamedTuple):
    """A published snapshot."""

    topic: int
    seq: int
    published_at_s: float


class Outlet(Protocol):
    """Receives the frames of one follower."""

    def __call__(self, message: Message, at_s: float) -> None:
        """The message was written at that instant."""


@dataclass(slots=True, eq=False)
class Follower:
    """An attached connection."""

    outlet: Outlet
    paced_until_s: float = 0.0
    """No frame is written to it before."""
    seq: int = 0
    """Of the newest message that was written to it; older ones are not."""
    waiting: Message | None = None
    """The newest message that the pace holds back."""


class Broadcast(NamedTuple):
    """A message, the followers to which it has not been written yet, and until when it paces them."""

    message: Message
    followers: list[Follower]
    paced_until_s: float


class Hub:
    """The hub of one process."""

    def __init__(self, clock: SimulationClock, costs: Costs, core: Core) -> None:
        self.core = core
        self.frames = self.deliveries = 0
        self._clock, self._costs = clock, costs
        self._followers: dict[int, list[Follower]] = {}
        self._inbox: list[Message] = []
        self._read_at_s = -inf
        self._broadcasts: deque[Broadcast] = deque()
        self._held: dict[int, Message] = {}
        self._paced_until_s: dict[int, float] = {}
        self._behind: dict[Follower, None] = {}
        self._is_slice_scheduled = False

    def attach(self, topic: int, outlet: Outlet) -> Follower:
        """Add a follower of the topic."""
        follower = Follower(outlet)
        self._followers.setdefault(topic, []).append(follower)
        return follower

    def receive(self, message: Message) -> None:
        """A message arrived from Redis. It is read at once; or, under load, with those that arrive within `REST_S`."""
        self._inbox.append(message)
        if len(self._inbox) > 1:
            return
        is_loaded = self._clock.now_s - self._read_at_s < 2 * REST_S
        if is_loaded:
            self._clock.call_later(REST_S, self._schedule_read)
        else:
            self._schedule_read()

    def _schedule_read(self) -> None:
        wake_us = self._costs.wake_us if self.core.is_idle else 0.0
        self.core.run(lambda: self._read_inbox(wake_us))

    def _read_inbox(self, wake_us: float) -> float:
        self._read_at_s = self._clock.now_s
        messages, self._inbox = self._inbox, []
        for message in messages:
            self._broadcast(message)
        return self._write_slice((wake_us + self._costs.envelope_us * len(messages)) / 1e6)

    def _broadcast(self, message: Message) -> None:
        """Start a broadcast; or, if the topic had one within `PACE_S`, hold the newest message back."""
        now_s, topic = self._clock.now_s, message.topic
        if topic not in self._followers:
            return
        if now_s < self._paced_until_s.get(topic, now_s):
            held = self._held.get(topic)
            if held is None or message.seq > held.seq:
                self._held[topic] = message
            return
        self._paced_until_s[topic] = now_s + PACE_S
        self._broadcasts.append(Broadcast(message, self._followers[topic], now_s + PACE_S))
        self._clock.call_later(PACE_S, lambda: self._release(topic))

    def _release(self, topic: int) -> None:
        if topic in self._held:
            self.core.run(lambda: self._broadcast_held(topic))

    def _broadcast_held(self, topic: int) -> float:
        held = self._held.pop(topic, None)
        if held is not None:
            self._broadcast(held)
        return self._write_slice(self._costs.wake_us / 1e6)

    def _write_slice(self, spent_s: float) -> float:
        """Write to at most `SLICE` followers, `spent_s` after this job's start; returns the job's duration so far."""
        room = SLICE
        while self._broadcasts and room > 0:
            message, followers, paced_until_s = self._broadcasts.popleft()
            batch, rest = followers[:room], followers[room:]
            if rest:
                self._broadcasts.appendleft(Broadcast(message, rest, paced_until_s))
            room -= len(batch)
            spent_s = self._write(message, batch, paced_until_s, spent_s)
        spent_s = self._write_waiting(spent_s, room)
        if self._broadcasts:
            self._schedule_slice()
        return spent_s

    def _schedule_slice(self) -> None:
        if not self._is_slice_scheduled:
            self._is_slice_scheduled = True
            self.core.run(self._write_scheduled_slice)

    def _write_scheduled_slice(self) -> float:
        self._is_slice_scheduled = False
        return self._write_slice(0.0)

    def _write(self, message: Message, followers: Iterable[Follower], paced_until_s: float, spent_s: float) -> float:
        now_s, delivery_s = self._clock.now_s, self._costs.delivery_us / 1e6
        spent_s += self._costs.frame_us / 1e6
        self.frames += 1
        for follower in followers:
            if message.seq <= follower.seq:
                continue
            if follower.paced_until_s > now_s or follower.waiting is not None:
                self._wait(follower, message)
                continue
            spent_s += delivery_s
            follower.paced_until_s, follower.seq = paced_until_s, message.seq
            self.deliveries += 1
            follower.outlet(message, now_s + spent_s)
        return spent_s

    def _wait(self, follower: Follower, message: Message) -> None:
        if follower.waiting is None or message.seq > follower.waiting.seq:
            follower.waiting = message
        if follower not in self._behind:
            self._behind[follower] = None
            self._clock.call_at(follower.paced_until_s, self._schedule_slice)

    def _write_waiting(self, spent_s: float, room: int) -> float:
        """Write each waiting message, in a frame of its own, to followers whose pace allows it."""
        now_s = self._clock.now_s
        due = [follower for follower in self._behind if follower.paced_until_s <= now_s] if self._behind else []
        cost_s = (self._costs.frame_us + self._costs.delivery_us) / 1e6
        for follower in due[: max(1, room)]:
            del self._behind[follower]
            assert follower.waiting is not None
            follower.seq = follower.waiting.seq
            spent_s += cost_s
            self.frames, self.deliveries = self.frames + 1, self.deliveries + 1
            follower.outlet(follower.waiting, now_s + spent_s)
            follower.waiting, follower.paced_until_s = None, now_s + PACE_S
        if len(due) > max(1, room):
            self._schedule_slice()
        return spent_s
