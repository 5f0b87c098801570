"""How clients connect to a process of the live server: the accept queue, the handshake, the read of the store.

Follows `server/websocket_protocol.py` and `live/refresher.py` step by step, with costs for the work, on the event loop
and the thread that reads the store. Knows nothing of the clients' retries (`clients.py`).
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from benchmarks.capacity.constants import BACKLOG, BATCH, GREETINGS_AT_ONCE
from benchmarks.capacity.costs import Costs
from benchmarks.capacity.simulation import Callback, Core, SimulationClock


class Connection(Protocol):
    """A client's connection."""

    topic: int
    """The topic that it follows."""
    rows: int
    """Tasks of the topic in the database."""

    def accepted(self) -> None:
        """The process has accepted it; its handshake request comes with `upgrade`."""

    def greeted(self) -> None:
        """It follows, and has the present state."""


class Admission:
    """The way into one process."""

    def __init__(
        self,
        clock: SimulationClock,
        costs: Costs,
        core: Core,
        *,
        backlog: int = BACKLOG,
        has_user_topics: bool = True,
    ) -> None:
        """`has_user_topics`: each client follows a user's topic; otherwise a task's."""
        self.core = core
        self.is_up = True
        """Whether the process accepts connections."""
        self.is_listening = True
        """Whether the port has a listening socket while the process is not up, so that connections are queued."""
        self.reads = self.queue_overflows = 0
        self.read_at_s: list[float] = []
        """When each read of the database began."""
        self._clock, self._costs, self._backlog = clock, costs, backlog
        self._query_us = costs.query_us if has_user_topics else costs.task_query_us
        self._accept_queue: deque[Connection] = deque()
        self._unread: list[Connection] = []
        self._is_reading = False

    @property
    def is_refusing(self) -> bool:
        """Whether connections are refused."""
        return not (self.is_up or self.is_listening)

    def connect(self, connection: Connection) -> bool:
        """Put a connection into the accept queue; False: the queue is full, and the client gets no answer."""
        if len(self._accept_queue) > self._backlog:
            self.queue_overflows += 1
            return False
        self._accept_queue.append(connection)
        if self.is_up and len(self._accept_queue) == 1:
            self._accept()
        return True

    def start(self) -> None:
        """The process is up, and accepts queued connections."""
        self.is_up = True
        if self._accept_queue:
            self._accept()

    def _accept(self) -> None:
        """Accept the oldest connection. Like libuv, one in each turn of the event loop."""
        self.core.run_for(self._costs.accept_us / 1e6, self._accepted)

    def _accepted(self) -> None:
        connection = self._accept_queue.popleft()
        if self._accept_queue:
            self._accept()
        connection.accepted()

    def upgrade(self, then: Callback) -> None:
        """Answer a handshake request, also for a client that has left: the process notices that later."""
        self.core.run_for(self._costs.upgrade_us / 1e6, then)

    def admit(self, connection: Connection) -> None:
        """Verify a client's ticket, then read the store for it."""
        self.core.run_for(self._costs.admit_us / 1e6, lambda: self._read_for(connection))

    def _read_for(self, connection: Connection) -> None:
        self._unread.append(connection)
        if not self._is_reading:
            self._is_reading = True
            self._read()

    def _read(self) -> None:
        """Read for all waiting connections together; afterwards for those that have come meanwhile."""
        connections, self._unread = self._unread, []
        if not connections:
            self._is_reading = False
            return
        rows_of = {connection.topic: connection.rows for connection in connections}
        topics, rows = len(rows_of), sum(rows_of.values())
        batches = -(-topics // BATCH)
        self.reads += batches
        self.read_at_s += [self._clock.now_s] * batches
        cost_us = self._query_us * batches + self._costs.topic_us * (topics - batches) + self._costs.row_us * rows
        self.core.run_in_thread(cost_us / 1e6, lambda: self._greet(iter(connections)))

    def _greet(self, connections: Iterator[Connection]) -> None:
        """Greet some connections, then let other jobs run."""
        batch = list(islice(connections, GREETINGS_AT_ONCE))
        if not batch:
            self._read()
            return
        greeting_s = self._costs.delivery_us / 1e6
        for nth, connection in enumerate(batch, 1):
            self._clock.call_later(greeting_s * nth, connection.greeted)
        self.core.run_for(greeting_s * len(batch), lambda: self._greet(connections))
