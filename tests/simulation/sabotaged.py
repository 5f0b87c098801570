"""Hub, connection and order with a mechanism taken out; everything else in them is the real code."""

from collections.abc import Iterable

from telltale.core.connection import Connection
from telltale.core.hub import Hub
from telltale.core.snapshot import Snapshot
from telltale.core.wire import Envelope
from tests.simulation.sabotage import Sabotage, Sabotages


def anything_is_newer(_new: Snapshot, _old: Snapshot | None) -> bool:
    """No order at all."""
    return True


def larger_seq_is_newer(new: Snapshot, old: Snapshot | None) -> bool:
    """The order without the end's rank."""
    return old is None or (new.attempt, new.seq) > (old.attempt, old.seq)


class Unordered(Connection):
    """The last to come takes the slot."""

    __slots__ = ()

    def _offer_snapshot(self, envelope: Envelope) -> None:
        assert envelope.snapshot is not None
        self._slots[envelope.snapshot.id] = envelope


class EndsAreProgress(Connection):
    """Compares attempt and seq only."""

    __slots__ = ()

    def _offer_snapshot(self, envelope: Envelope) -> None:
        assert envelope.snapshot is not None
        snapshot = envelope.snapshot
        known = self._newest.get(snapshot.id)
        if known is None or (snapshot.attempt, snapshot.seq) > (known[0], known[2]):
            self._slots[snapshot.id] = envelope
            self._newest[snapshot.id] = snapshot.order


class Nosy(Connection):
    """Follows everything."""

    __slots__ = ()

    def follows(self, topics: Iterable[str]) -> bool:
        return True


class Indiscreet(Hub):
    """Offers everything to everybody."""

    def deliver(self, envelope: Envelope) -> set[Connection]:
        for connection in self.connections:
            connection.offer(envelope)
        return set(self.connections)


def hub_of(sabotage: Sabotages) -> Hub:
    """The real one, unless that is what is sabotaged."""
    return Indiscreet() if Sabotage.NO_TOPICS in sabotage else Hub()


def connection_of(sabotage: Sabotages) -> type[Connection]:
    """The real one, unless that is what is sabotaged."""
    if Sabotage.NO_TOPICS in sabotage:
        return Nosy
    if Sabotage.NO_ORDER_IN_CONNECTION in sabotage:
        return Unordered
    return EndsAreProgress if Sabotage.END_AS_PROGRESS in sabotage else Connection
