"""Hub, connection and order with one mechanism removed; everything else in them is the real code."""

from collections.abc import Iterable, Mapping, Sequence
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


class CorrectsNothing(Connection):
    """Lets a client keep a snapshot that the store denies."""

    __slots__ = ()

    def correct(self, envelope: Envelope) -> None:
        pass


class OutlivesTicket(Connection):
    """Is not closed when its ticket has expired."""

    __slots__ = ()

    def close_if_overdue(self, now: float) -> None:
        if self.grant is None or now < self.grant.expires_at:
            super().close_if_overdue(now)


class HasCredit(NeverReady):
    """Sends, whatever was acknowledged."""

    __slots__ = ()
    has_credit = property(lambda self: True)  # type: ignore[assignment]


class CorrectsNews(Hub):
    """Holds against a read also what was heard after it began."""

    def begin_read(self) -> Mapping[str, Order]:
        return self._heard


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
    if Sabotage.CORRECTS_NEWS in sabotage:
        return CorrectsNews()
    return DeliversToAll() if Sabotage.NO_TOPICS in sabotage else Hub()


_CONNECTIONS: Mapping[Sabotage, type[Connection]] = {
    Sabotage.NO_TOPICS: FollowsEverything,
    Sabotage.NO_ORDER_IN_CONNECTION: LastWins,
    Sabotage.END_AS_PROGRESS: SeqWins,
    Sabotage.NO_CORRECTION: CorrectsNothing,
    Sabotage.OUTLIVES_TICKET: OutlivesTicket,
    Sabotage.NO_CREDIT: HasCredit,
}


def connection_of(sabotage: Sabotages) -> type[Connection]:
    """Return the class of connections, without the mechanism of the connection that is sabotaged."""
    return next((kind for mechanism, kind in _CONNECTIONS.items() if mechanism in sabotage), Connection)
