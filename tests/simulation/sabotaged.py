"""Hub, connection and order with one mechanism removed; everything else in them is the real code."""

from collections.abc import Iterable, Sequence
from typing import Any

from telltale.core.connection import Connection
from telltale.core.hub import Frames, Hub
from telltale.core.outbox import Outbox
from telltale.core.snapshot import Order
from telltale.core.wire import Envelope
from tests.simulation.sabotage import Sabotage, Sabotages


def always_supersedes(_order: Order, _other: Order | None) -> bool:
    """Use no order at all."""
    return True


def supersedes_by_seq(order: Order, other: Order | None) -> bool:
    """Use the order without the rank of ends."""
    return other is None or (order[0], order[2]) > (other[0], other[2])


class LastWinsOutbox(Outbox):
    """Keeps the snapshot that came last."""

    __slots__ = ()

    def _add_snapshot(self, envelope: Envelope) -> bool:
        self._snapshots[envelope.about] = envelope
        return True


class SeqWinsOutbox(Outbox):
    """Compares attempt and seq only."""

    __slots__ = ()

    def _add_snapshot(self, envelope: Envelope) -> bool:
        if supersedes_by_seq(envelope.order, self.newest.get(envelope.about)):
            self._snapshots[envelope.about] = envelope
            self.newest[envelope.about] = envelope.order
        return True


class NeverReady(Connection):
    """Shares no frame, so that all envelopes pass its outbox."""

    __slots__ = ()
    is_ready = property(lambda self: False, lambda self, is_ready: None)


class LastWins(NeverReady):
    """Sends the snapshot that came last."""

    __slots__ = ()

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.outbox = LastWinsOutbox(self.policy)


class SeqWins(NeverReady):
    """Sends the snapshot with the larger seq, also after an end."""

    __slots__ = ()

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.outbox = SeqWinsOutbox(self.policy)
        self.newest = self.outbox.newest


class FollowsEverything(Connection):
    """Accepts envelopes of all topics."""

    __slots__ = ()

    def follows(self, topics: Iterable[str]) -> bool:
        return True


class DeliversToAll(Hub):
    """Delivers each envelope to all connections."""

    def _followers_of(self, topics: Sequence[str]) -> set[Connection]:
        return set(self.connections)


class DropsWhatWaits(Hub):
    """Never sends what waits for the next tick."""

    def _end_throttling(self, now: float) -> None:
        self._throttled_until.clear()

    def _work_off_backlog(self, now: float, limit: int) -> Frames:
        for connection in [connection for connection in self._backlog if not connection.is_greeted]:
            yield from ((frame, (connection,)) for frame in [connection.take(now)] if frame)


def hub_of(sabotage: Sabotages) -> Hub:
    """Return a hub, without the mechanism of the hub that is sabotaged."""
    if Sabotage.NO_TRAILING_FRAME in sabotage:
        return DropsWhatWaits()
    return DeliversToAll() if Sabotage.NO_TOPICS in sabotage else Hub()


def connection_of(sabotage: Sabotages) -> type[Connection]:
    """Return the class of connections, without the mechanism of the connection that is sabotaged."""
    if Sabotage.NO_TOPICS in sabotage:
        return FollowsEverything
    if Sabotage.NO_ORDER_IN_CONNECTION in sabotage:
        return LastWins
    return SeqWins if Sabotage.END_AS_PROGRESS in sabotage else Connection
