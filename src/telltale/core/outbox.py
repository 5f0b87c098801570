"""What waits to be sent to one client, and what it has already: bounded, whatever the pace.

Of each task only the newest unsent snapshot is kept, so a slow reader costs one slot a task and never a queue of
snapshots. Notices and events wait in order, at most `max_queue` of them.
"""

from collections.abc import Callable

from telltale.core.policy import ConnectionPolicy
from telltale.core.snapshot import Order, supersedes
from telltale.core.wire import Envelope, Kind


class Outbox:
    """The pending envelopes of one connection. It neither knows a ticket nor makes frames."""

    __slots__ = ("_corrected", "_notices", "_policy", "_queue", "_snapshots", "newest")

    def __init__(self, policy: ConnectionPolicy) -> None:
        self._policy = policy
        self.newest: dict[str, Order] = {}
        """By task: the order of the newest snapshot that was sent or waits. The same dict for life."""
        self._snapshots: dict[str, Envelope] = {}  # By task: the one that waits.
        self._corrected: set[str] = set()  # Tasks of which the client has a snapshot that the store denies.
        self._queue: list[Envelope] = []  # Notices and events, in order.
        self._notices: dict[str, None] = {}  # Ids of notices that were sent or wait, the oldest first.

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not (self._snapshots or self._queue)

    def add(self, envelope: Envelope) -> bool:
        """Keep `envelope` if the client needs it; False if it needs it and there is no room.

        A notice that finds no room is no loss: the store keeps it, and the next re-read offers it again.
        """
        if envelope.kind is Kind.SNAPSHOT:
            return self._add_snapshot(envelope)
        if envelope.kind is Kind.NOTICE:
            self._add_notice(envelope)
        elif envelope.kind is Kind.EVENT:
            if len(self._queue) >= self._policy.max_queue:
                return False
            self._queue.append(envelope)
        return True

    def _add_snapshot(self, envelope: Envelope) -> bool:
        task, order = envelope.about, envelope.order
        if not supersedes(order, self.newest.get(task)):
            return True
        if task not in self._snapshots and len(self._snapshots) >= self._policy.max_remembered:
            return False
        self._snapshots[task] = envelope
        self.remember(task, order)
        return True

    def correct(self, envelope: Envelope) -> None:
        """Send this snapshot, which was read from the store, although the client has one that seems to be newer."""
        self._snapshots[envelope.about] = envelope
        self._corrected.add(envelope.about)
        self.remember(envelope.about, envelope.order)

    def _add_notice(self, envelope: Envelope) -> None:
        # A notice that finds no room is not remembered, or the next re-read could not bring it.
        if envelope.about not in self._notices and len(self._queue) < self._policy.max_queue:
            self.remember_notice(envelope.about)
            self._queue.append(envelope)

    def remember(self, task: str, order: Order) -> None:
        """The client has the snapshot of `task` with this `order`, or it waits."""
        self.newest.pop(task, None)  # The task moves to the end: the first in the dict is forgotten first.
        self.newest[task] = order
        if len(self.newest) <= self._policy.max_remembered:
            return
        # A task that waits must stay remembered, or an older snapshot could replace the one that waits.
        forgotten = next((task for task in self.newest if task not in self._snapshots), None)
        if forgotten is not None:
            del self.newest[forgotten]

    def remember_notice(self, notice: str) -> None:
        """The client has the notice with this id, or it waits."""
        self._notices[notice] = None
        if len(self._notices) > self._policy.max_remembered:
            del self._notices[next(iter(self._notices))]

    def keep_only(self, is_allowed: Callable[[Envelope], bool]) -> None:
        """Drop what waits and is not allowed any more."""
        self._queue = [envelope for envelope in self._queue if is_allowed(envelope)]
        for task in [task for task, envelope in self._snapshots.items() if not is_allowed(envelope)]:
            # Forgotten too: a later ticket that covers the task again must bring its snapshot.
            del self._snapshots[task], self.newest[task]
            self._corrected.discard(task)

    def forget(self, task: str) -> None:
        """The client may have forgotten its snapshot of `task`, so it is sent again if a later ticket covers it."""
        if task not in self._snapshots:
            self.newest.pop(task, None)

    def take(self, size: int) -> tuple[list[str], list[str], list[str], list[str]]:
        """Remove and return what one frame of about `size` characters holds.

        The texts of (snapshots, notices, events), and the ids of the tasks whose snapshots are corrections.
        """
        snapshots: list[str] = []
        corrected: list[str] = []
        notices: list[str] = []
        events: list[str] = []
        room, taken = size, 0
        while self._snapshots and room > 0:
            task = next(iter(self._snapshots))
            snapshots.append(self._snapshots.pop(task).text)
            if task in self._corrected:
                self._corrected.remove(task)
                corrected.append(task)
            room -= len(snapshots[-1])
        while taken < len(self._queue) and room > 0:
            envelope = self._queue[taken]
            (notices if envelope.kind is Kind.NOTICE else events).append(envelope.text)
            room -= len(envelope.text)
            taken += 1
        del self._queue[:taken]
        return snapshots, notices, events, corrected

    def clear(self) -> None:
        """Drop everything that waits."""
        self._snapshots.clear()
        self._corrected.clear()
        self._queue.clear()
