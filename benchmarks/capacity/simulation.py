"""A discrete-event simulation: a clock that jumps from event to event, and CPU cores that run one job at a time.

Knows nothing of what is simulated. Deterministic: events of the same instant happen in the order in which they were
scheduled.
"""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Final

Callback = Callable[[], None]
Job = Callable[[], float]
"""Runs when its core starts it; returns how many seconds it takes."""

THREAD_SLICE_S: Final = 0.0005
"""A thread on an otherwise idle core checks this often whether there are jobs."""


class SimulationClock:
    """Simulated time in seconds, from 0."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._numbers = count()
        self._events: list[tuple[float, int, Callback]] = []

    def call_at(self, when_s: float, callback: Callback) -> None:
        """Schedule `callback` for that instant; for now, if it has passed."""
        heapq.heappush(self._events, (max(when_s, self.now_s), next(self._numbers), callback))

    def call_later(self, delay_s: float, callback: Callback) -> None:
        """Schedule `callback` after a delay."""
        self.call_at(self.now_s + delay_s, callback)

    def run(self, until_s: float = inf) -> None:
        """Run all events up to that instant."""
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _number, callback = heapq.heappop(self._events)
            callback()


class Core:
    """A CPU core that runs jobs in the order of their arrival, without preemption: an event loop.

    One thread may run on the same core; it then gets as much time as the jobs get.
    """

    def __init__(self, clock: SimulationClock) -> None:
        self.busy_s = 0.0
        """The time it has worked so far."""
        self._clock = clock
        self._jobs: deque[tuple[Job, Callback | None]] = deque()
        self._is_busy = False
        self._thread_left_s = 0.0
        self._thread_turn_s = 0.0
        self._thread_done: Callback = _do_nothing

    @property
    def is_idle(self) -> bool:
        """Whether a job that arrives now starts at once."""
        return not self._is_busy

    def run(self, job: Job, then: Callback | None = None) -> None:
        """Queue a job; call `then` when it is done."""
        self._jobs.append((job, then))
        self._wake()

    def run_for(self, cost_s: float, then: Callback | None = None) -> None:
        """Queue a job of a fixed cost; call `then` when it is done."""
        self.run(lambda: cost_s, then)

    def run_in_thread(self, cost_s: float, then: Callback) -> None:
        """Run work of a fixed cost in the thread, which must be idle; call `then` when it is done."""
        assert not self._thread_left_s, "the thread runs one thing at a time"
        self._thread_left_s, self._thread_done, self._thread_turn_s = max(cost_s, 1e-9), then, 0.0
        self._wake()

    def _wake(self) -> None:
        if not self._is_busy:
            self._is_busy = True
            self._next()

    def _next(self) -> None:
        if self._thread_left_s and (self._thread_turn_s or not self._jobs):
            turn_s = min(self._thread_turn_s if self._jobs else THREAD_SLICE_S, self._thread_left_s)
            self._thread_turn_s = 0.0
            self._occupy(turn_s, lambda: self._thread_ran(turn_s))
        elif self._jobs:
            job, then = self._jobs.popleft()
            cost_s = self._thread_turn_s = job()
            self._occupy(cost_s, then)
        else:
            self._is_busy = False

    def _occupy(self, cost_s: float, then: Callback | None) -> None:
        self.busy_s += cost_s
        self._clock.call_later(cost_s, lambda: self._done(then))

    def _done(self, then: Callback | None) -> None:
        if then is not None:
            then()
        self._next()

    def _thread_ran(self, turn_s: float) -> None:
        self._thread_left_s -= turn_s
        if self._thread_left_s <= 1e-12:
            self._thread_left_s = 0.0
            self._thread_done()


def _do_nothing() -> None:
    """The callback of a thread that has had no work yet."""


class FifoQueue:
    """A single server with a FIFO queue, without events: computes when each job is done.

    Jobs must be given in the order of their arrival. Cheaper than `Core`, for millions of jobs.
    """

    def __init__(self) -> None:
        self._free_at_s = 0.0

    def done_at_s(self, arrived_at_s: float, cost_s: float) -> float:
        """The instant at which a job of this arrival and cost is done."""
        self._free_at_s = max(self._free_at_s, arrived_at_s) + cost_s
        return self._free_at_s
