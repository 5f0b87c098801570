"""How clients come into a process of the live server: the kernel's queue, the handshake, the read of the store.

Follows `server/websocket_protocol.py` and `live/refresher.py` step by step, with costs for the work, on the event loop
and its reader's thread. Knows nothing of what clients do when they are turned away (`crowd.py`).
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from benchmarks.capacity.clock import Act, Clock, Core
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.rules import BACKLOG, BATCH, SEATS


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


class Door:
    """Of one process."""

    def __init__(
        self, clock: Clock, costs: Costs, core: Core, *, backlog: int = BACKLOG, is_of_people: bool = True
    ) -> None:
        """`is_of_people`: each follows the topic of their own; if not, one of a task."""
        self.core = core
        self.is_up = True
        """Whether it accepts."""
        self.is_held = True
        """While it is not up: whether somebody holds its port, so that callers wait in the kernel's queue."""
        self.reads = self.turned_away = 0
        self.read_at_s: list[float] = []
        """When each read of the database began."""
        self._clock, self._costs, self._backlog = clock, costs, backlog
        self._is_of_people = is_of_people
        self._callers: deque[Caller] = deque()
        self._unread: list[Caller] = []
        self._is_reading = False

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
