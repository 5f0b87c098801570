"""Many connections at once: one frame for all who are ready, and who of them has something due by itself.

The loop in `serve` runs for each delivery, so it looks into connections where others ask them. Called by the hub
and its driver.
"""

from collections.abc import Iterable, Iterator

from telltale.core.connection import Connection
from telltale.core.snapshot import Order
from telltale.core.wire import Envelope, Kind


def serve(
    connections: Iterable[Connection], envelope: Envelope, *, n: int, size: int, now: float, free_at: float
) -> tuple[list[Connection], list[Connection]]:
    """Hand one thing on to many: (who gets the frame that was made for all, who has it waiting instead).

    The frame has number `n` and `size` characters. It is for connections that are ready; all others go the long
    way, by `offer`. This is the one loop that runs for each delivery.
    """
    ready: list[Connection] = []
    others: list[Connection] = []
    task, order = envelope.about, envelope.order
    older: Order | None = None  # Most know the same last snapshot: it is compared once.
    is_shared = envelope.kind is not Kind.NOTICE  # A notice is sent once, and each connection knows which it had.
    for connection in connections:
        if not (is_shared and connection.is_ready and connection.free_at <= now):
            if connection.closed is None:
                connection.offer(envelope)
                if connection.pending or connection.closed:
                    others.append(connection)
            continue
        if task:
            newest = connection._newest
            known = newest.get(task)
            if known is None:
                connection._remember(task, order)
            elif known is not older:
                if order <= known:
                    continue
                older = known
            newest[task] = order
        connection.free_at = free_at
        connection._n = n
        connection._owed = owed = connection._owed + size
        if owed >= connection._credit:
            connection._broke(now)
        ready.append(connection)
    return ready, others


def due(connections: Iterable[Connection], now: float) -> Iterator[tuple[Connection, str | None]]:
    """Those to whom something is due by itself: a ping, or (None) their end. For whoever looks about every second."""
    for connection in connections:
        if connection.look_at <= now:
            frame = connection.look(now)
            if frame is not None or connection.closed:
                yield connection, frame
