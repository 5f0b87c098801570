"""One process of the live server: an event loop on one core, with its hub, its queue of new clients and its reader.

Follows `web/driver.py` and `core/hub.py` step by step, with costs for the work. Tasks and their topics are one
thing here, with a number for a name. Knows neither Redis nor what clients do when they are turned away.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import NamedTuple, Protocol

from benchmarks.capacity.clock import Act, Clock, Core
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.rules import BACKLOG, BATCH, PACE_S, REST_S, SEATS, SLICE


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


class Caller(Protocol):
    """Somebody who comes in."""

    topic: int
    """Which is followed."""
    rows: int
    """That the database knows of it."""

    def accepted(self) -> None:
        """Its connection is the process's now; what it asks comes by `upgrade`."""

    def greeted(self) -> None:
        """It follows, and knows the present state."""


class Process:
    """See the module."""

    def __init__(
        self, clock: Clock, costs: Costs, core: Core, *, backlog: int = BACKLOG, is_of_people: bool = True
    ) -> None:
        """`is_of_people`: each follows the topic of their own; if not, one of a task."""
        self.core = core
        self.frames = self.deliveries = self.reads = self.turned_away = 0
        self.read_at_s: list[float] = []
        """When each read of the database began."""
        self._clock, self._costs, self._backlog = clock, costs, backlog
        self._is_of_people = is_of_people
        self._audience: dict[int, list[Follower]] = {}
        self._inbox: list[Message] = []
        self._heard_at_s = -inf
        self._rounds: deque[tuple[Message, list[Follower], float]] = deque()
        self._held: dict[int, Message] = {}
        self._free_at_s: dict[int, float] = {}
        self._behind: dict[Follower, None] = {}
        self._callers: deque[Caller] = deque()
        self._unread: list[Caller] = []
        self._is_reading = self._is_turning = False
        self.is_up = True
        """Whether it accepts."""
        self.is_held = True
        """While it is not up: whether somebody holds its port, so that callers wait in the kernel's queue."""

    # What is told ------------------------------------------------------------------------------

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

    # Who comes ---------------------------------------------------------------------------------

    @property
    def is_refusing(self) -> bool:
        """Whether there is nobody to come to."""
        return not (self.is_up or self.is_held)

    def knock(self, caller: Caller) -> bool:
        """A connection is asked for; False: the kernel's queue is full, and it hears nothing."""
        if len(self._callers) > self._backlog:
            self.turned_away += 1
            return False
        self._callers.append(caller)
        if self.is_up and len(self._callers) == 1:
            self._accept()
        return True

    def come_up(self) -> None:
        """It has started, and serves whoever waits."""
        self.is_up = True
        if self._callers:
            self._accept()

    def _accept(self) -> None:
        """One a turn of the loop, which is libuv's way: who waits longest first."""
        self.core.spend(self._costs.accept_us / 1e6, self._accepted)

    def _accepted(self) -> None:
        caller = self._callers.popleft()
        if self._callers:
            self._accept()
        caller.accepted()

    def upgrade(self, caller: Caller, then: Act) -> None:
        """Its request has come; it is answered even if it has gone, which is seen behind it."""
        self.core.spend(self._costs.upgrade_us / 1e6, then)

    def admit(self, caller: Caller) -> None:
        """Its ticket has come."""
        self.core.spend(self._costs.admit_us / 1e6, lambda: self._read_for(caller))

    def _read_for(self, caller: Caller) -> None:
        self._unread.append(caller)
        if not self._is_reading:
            self._is_reading = True
            self._read()

    def _read(self) -> None:
        """For all who wait, in one go, and again for those who have come meanwhile."""
        callers, self._unread = self._unread, []
        if not callers:
            self._is_reading = False
            return
        rows_of = {caller.topic: caller.rows for caller in callers}
        topics, rows = len(rows_of), sum(rows_of.values())
        batches = -(-topics // BATCH)
        self.reads += batches
        self.read_at_s += [self._clock.now_s] * batches
        query_us = self._costs.query_us if self._is_of_people else self._costs.task_query_us
        cost_us = query_us * batches + self._costs.topic_us * (topics - batches) + self._costs.row_us * rows
        self.core.beside(cost_us / 1e6, lambda: self._greet(iter(callers)))

    def _greet(self, waiting: Iterator[Caller]) -> None:
        """So many at a time, then others have their turn."""
        some = list(islice(waiting, SEATS))
        if not some:
            return self._read()
        each_s = self._costs.delivery_us / 1e6
        for nth, caller in enumerate(some, 1):
            self._clock.after(each_s * nth, caller.greeted)
        self.core.spend(each_s * len(some), lambda: self._greet(waiting))
        return None
