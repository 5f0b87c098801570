"""The hub: who follows what, and whom an envelope concerns.

One a web process. It holds no task state: what a connection has is the connection's, what is true is
the store's. So a hub may vanish at any moment, and nothing is lost but time.
"""

from collections.abc import Iterable

from telltale.core.connection import Connection
from telltale.core.wire import Envelope


class Hub:
    """Followers by topic. Not thread-safe: one thread (the event loop's) owns it."""

    def __init__(self) -> None:
        self._followers: dict[str, set[Connection]] = {}
        self._attached: dict[Connection, frozenset[str]] = {}

    def attach(self, connection: Connection) -> None:
        """Begin to hand on what its grant covers; call again after a renewal. Before the snapshot's read."""
        assert connection.grant is not None, "admit the connection first"
        self.detach(connection)
        self._attached[connection] = connection.grant.topics
        for topic in connection.grant.topics:
            self._followers.setdefault(topic, set()).add(connection)

    def detach(self, connection: Connection) -> None:
        """Forget it; harmless if it was not attached."""
        for topic in self._attached.pop(connection, ()):
            followers = self._followers[topic]
            followers.discard(connection)
            if not followers:
                del self._followers[topic]

    def deliver(self, envelope: Envelope) -> set[Connection]:
        """Offer `envelope` to all whom it concerns; returns those, for their drivers to be woken."""
        concerned: set[Connection] = set()
        for topic in envelope.topics:
            concerned |= self._followers.get(topic, _NOBODY)
        for connection in concerned:
            connection.offer(envelope)
        return concerned

    def deliver_all(self, envelopes: Iterable[Envelope]) -> set[Connection]:
        """`deliver` for what a re-read of the store found."""
        return {connection for envelope in envelopes for connection in self.deliver(envelope)}

    @property
    def topics(self) -> frozenset[str]:
        """All that anybody here follows: what a re-read must cover."""
        return frozenset(self._followers)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """All that are attached."""
        return tuple(self._attached)


_NOBODY: frozenset[Connection] = frozenset()
