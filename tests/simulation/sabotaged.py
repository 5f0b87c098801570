"""Hub, connection and order with a mechanism taken out; everything else in them is the real code."""

from collections.abc import Iterable, Sequence

from telltale.core.connection import Connection
from telltale.core.hub import Frames, Hub
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
    is_ready = property(lambda self: False, lambda self, is_ready: None)  # So that all goes the long way.

    def _offer_snapshot(self, envelope: Envelope) -> None:
        self._slots[envelope.about] = envelope


class EndsAreProgress(Unordered):
    """Compares attempt and seq only."""

    __slots__ = ()

    def _offer_snapshot(self, envelope: Envelope) -> None:
        attempt, _ended, seq = envelope.order
        known = self._newest.get(envelope.about)
        if known is None or (attempt, seq) > (known[0], known[2]):
            self._slots[envelope.about] = envelope
            self._newest[envelope.about] = envelope.order


class Nosy(Connection):
    """Follows everything."""

    __slots__ = ()

    def follows(self, topics: Iterable[str]) -> bool:
        return True


class Indiscreet(Hub):
    """Hands everything on to everybody."""

    def _concerned(self, topics: Sequence[str]) -> set[Connection]:
        return set(self.connections)


class Forgetful(Hub):
    """What waits for the tick goes on waiting."""

    def _release(self, now: float) -> None:
        self._free_at.clear()

    def _catch_up(self, now: float, most: int) -> Frames:
        for connection in [c for c in self._behind if not c._is_greeted]:
            yield from ((frame, (connection,)) for frame in [connection.take(now)] if frame)


def hub_of(sabotage: Sabotages) -> Hub:
    """The real one, unless that is what is sabotaged."""
    if Sabotage.NO_TRAILING_FRAME in sabotage:
        return Forgetful()
    return Indiscreet() if Sabotage.NO_TOPICS in sabotage else Hub()


def connection_of(sabotage: Sabotages) -> type[Connection]:
    """The real one, unless that is what is sabotaged."""
    if Sabotage.NO_TOPICS in sabotage:
        return Nosy
    if Sabotage.NO_ORDER_IN_CONNECTION in sabotage:
        return Unordered
    return EndsAreProgress if Sabotage.END_AS_PROGRESS in sabotage else Connection
