"""A discrete-event simulation's machinery: time that jumps from event to event, and cores that do one job at a time.

Knows nothing of what is simulated. Deterministic: events of the same instant happen in the order in which they
were planned. Used by every part of this package that has a time.
"""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Final

Act = Callable[[], None]
Work = Callable[[], float]
"""Done when a job begins; answers how many seconds it takes."""

TICK_S: Final = 0.0005
"""So long a thread goes on before it is seen whether the loop has something to do."""


class Clock:
    """Simulated time in seconds, from 0."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._numbers = count()
        self._planned: list[tuple[float, int, Act]] = []

    def at(self, when_s: float, act: Act) -> None:
        """Have `act` happen then; at once, if then is past."""
        heapq.heappush(self._planned, (max(when_s, self.now_s), next(self._numbers), act))

    def after(self, wait_s: float, act: Act) -> None:
        """Have `act` happen so much later."""
        self.at(self.now_s + wait_s, act)

    def run(self, until_s: float = inf) -> None:
        """Until nothing is planned any more, or that instant."""
        while self._planned and self._planned[0][0] <= until_s:
            self.now_s, _number, act = heapq.heappop(self._planned)
            act()


class Core:
    """Jobs in the order in which they came, one at a time, none interrupted: an event loop, or any such server.

    One thread may run beside them; while it does, it has the core for as long as the jobs have it.
    """

    def __init__(self, clock: Clock) -> None:
        self.busy_s = 0.0
        """So long it has worked so far."""
        self._clock = clock
        self._jobs: deque[tuple[Work, Act | None]] = deque()
        self._is_busy = False
        self._beside_s = 0.0
        self._owed_s = 0.0
        self._beside_ends: Act = _nothing

    @property
    def is_idle(self) -> bool:
        """Whether a job that comes now wakes it."""
        return not self._is_busy

    def do(self, work: Work, then: Act | None = None) -> None:
        """Do this after all that came before; then `then`."""
        self._jobs.append((work, then))
        self._wake()

    def spend(self, cost_s: float, then: Act | None = None) -> None:
        """Do what always takes so long."""
        self.do(lambda: cost_s, then)

    def beside(self, cost_s: float, then: Act) -> None:
        """Have the thread do what takes so long; it must have done what it had."""
        assert not self._beside_s, "one thing at a time"
        self._beside_s, self._beside_ends, self._owed_s = max(cost_s, 1e-9), then, 0.0
        self._wake()

    def _wake(self) -> None:
        if not self._is_busy:
            self._is_busy = True
            self._next()

    def _next(self) -> None:
        if self._beside_s and (self._owed_s or not self._jobs):
            share_s = self._owed_s if self._jobs else TICK_S
            share_s = min(share_s, self._beside_s)
            self._owed_s = 0.0
            self._run(share_s, lambda: self._go_on_beside(share_s))
        elif self._jobs:
            work, then = self._jobs.popleft()
            cost_s = self._owed_s = work()
            self._run(cost_s, then)
        else:
            self._is_busy = False

    def _run(self, cost_s: float, then: Act | None) -> None:
        self.busy_s += cost_s
        self._clock.after(cost_s, lambda: self._done(then))

    def _done(self, then: Act | None) -> None:
        if then is not None:
            then()
        self._next()

    def _go_on_beside(self, done_s: float) -> None:
        self._beside_s -= done_s
        if self._beside_s <= 1e-12:
            self._beside_s = 0.0
            self._beside_ends()


def _nothing() -> None:
    """What follows where nothing does."""


class Lane:
    """A core that is asked for nothing but its answer: when would a job that comes then be done?

    Jobs must come in the order of their instants. Cheaper than `Core`, where millions pass.
    """

    def __init__(self) -> None:
        self._free_at_s = 0.0

    def passes(self, came_at_s: float, cost_s: float) -> float:
        """The instant at which it is done."""
        self._free_at_s = max(self._free_at_s, came_at_s) + cost_s
        return self._free_at_s
