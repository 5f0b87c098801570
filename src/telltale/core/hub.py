"""The hub: who follows what, whom an envelope concerns, and what is to be written to whom now.

One a web process. It does no I/O and reads no clock: what happened goes in (`tell`), and what is to be written
comes out (`turn`), at most so much at a time that its driver can see to others in between. It holds no task
state but what waits for the tick: what a connection has is the connection's, what is true is the store's. So a
hub may vanish at any moment, and nothing is lost but time.

    tell ─▶ told of this task a moment ago? ─▶ held, newest by newest, until `pace_s` is over ─┐
                └─ no ──────────────────────────────────────────────────────────────────────▶ a round to all
    round ─▶ who is ready gets the one frame made for all; who is not has it waiting, and comes in its turn
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import count
from typing import Final

from telltale.core.connection import Connection
from telltale.core.snapshot import Order
from telltale.core.wire import Envelope, Kind, update_of

SLICE: Final = 500
"""Connections that one turn serves: a millisecond or two, after which handshakes and others have theirs."""

Frames = Iterator[tuple[str, Sequence[Connection]]]
"""Texts, each with those to whom it goes."""


class Hub:
    """Followers by topic. Not thread-safe: one thread (the event loop's) owns it."""

    def __init__(self, pace_s: float = 0.1) -> None:
        """`pace_s`: least time between two rounds about one task."""
        self.numbers = count(1)
        """Of frames, for all its connections: a frame that many share has one number."""
        self._pace_s = pace_s
        self._followers: dict[str, set[Connection]] = {}
        self._attached: dict[Connection, frozenset[str]] = {}
        # What happened, those still to be served, and when they may be served again: counted from when it was told,
        # or the last of many followers would miss the next tick for having been served late.
        self._rounds: deque[tuple[Envelope, Collection[Connection], float]] = deque()
        self._held: dict[str, Envelope] = {}
        self._free_at: dict[str, float] = {}  # Of tasks told of within the last `pace_s`, in that order.
        self._behind: dict[Connection, None] = {}
        self._look_at = float("inf")

    # Who follows ---------------------------------------------------------------------------------

    def attach(self, connection: Connection) -> None:
        """Begin to hand on what its grant covers; call again after a renewal. Before the snapshot's read."""
        assert connection.grant is not None, "admit the connection first"
        self.detach(connection)
        self._attached[connection] = connection.grant.topics
        for topic in connection.grant.topics:
            self._followers.setdefault(topic, set()).add(connection)

    def detach(self, connection: Connection) -> None:
        """Forget it; harmless if it was not attached."""
        self._behind.pop(connection, None)
        for topic in self._attached.pop(connection, ()):
            followers = self._followers[topic]
            followers.discard(connection)
            if not followers:
                del self._followers[topic]

    def follows(self, topic: str) -> bool:
        """Whether anybody here does."""
        return topic in self._followers

    @property
    def topics(self) -> frozenset[str]:
        """All that anybody here follows: what a re-read must cover."""
        return frozenset(self._followers)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """All that are attached."""
        return tuple(self._attached)

    # What happens --------------------------------------------------------------------------------

    def tell(self, envelopes: Iterable[Envelope], *, now: float) -> None:
        """These happened. Of a task that was told of a moment ago, the newest waits for the tick."""
        for envelope in envelopes:
            concerned = self._concerned(envelope.topics)
            if not concerned or (envelope.kind is Kind.SNAPSHOT and self._is_held(envelope, now)):
                continue
            self._rounds.append((envelope, concerned, now + self._pace_s))

    def wake(self, connection: Connection) -> None:
        """Something waits for it, or it can be served again: see to it in the next turn."""
        self._behind[connection] = None
        self._look_at = float("-inf")

    def _concerned(self, topics: Sequence[str]) -> AbstractSet[Connection]:
        concerned = _NOBODY
        for topic in topics:
            if followers := self._followers.get(topic):
                concerned = concerned | followers if concerned else followers
        return concerned

    def _is_held(self, envelope: Envelope, now: float) -> bool:
        task, next_at = envelope.about, now + self._pace_s
        free_at = self._free_at.get(task, now)
        if not now < free_at <= next_at:  # The second, for a clock that was put back.
            self._free_at.pop(task, None)
            self._free_at[task] = next_at
            return False
        held = self._held.get(task)
        if held is None or envelope.order > held.order:
            self._held[task] = envelope
        return True

    # What is to be written -----------------------------------------------------------------------

    def turn(self, now: float, *, most: int = SLICE) -> Frames:
        """What to write to whom now, to about `most` connections; `wake_at` says when to call again.

        An empty text stands for a connection that was closed on the way.
        """
        self._release(now)
        while self._rounds and most > 0:
            envelope, some, free_at = self._rounds.popleft()
            if len(some) > most:
                every = list(some)
                some = every[:most]
                self._rounds.appendleft((envelope, every[most:], free_at))
            most -= len(some)
            n = next(self.numbers)
            text = update_of(envelope, n, now)
            ready, others = serve(some, envelope, n=n, size=len(text), now=now, free_at=free_at)
            if ready:
                yield text, ready
            if others:
                yield from self._put_back(others)
        if self._look_at <= now:
            yield from self._catch_up(now, most)

    def _put_back(self, connections: Iterable[Connection]) -> Frames:
        """These have something waiting now, or were closed over it."""
        for connection in connections:
            if connection.closed:
                self._behind.pop(connection, None)
                yield "", (connection,)
            else:
                self._behind[connection] = None
                self._look_at = min(self._look_at, connection.free_at)

    def _release(self, now: float) -> None:
        """Those tasks that were told of long enough ago may be told of again."""
        while self._free_at and next(iter(self._free_at.values())) <= now:
            task = next(iter(self._free_at))
            del self._free_at[task]
            if (held := self._held.pop(task, None)) is not None:
                self.tell([held], now=now)

    def _catch_up(self, now: float, most: int) -> Frames:
        """Serve those for whom something waits, each with a frame of its own that holds all of it."""
        due = [connection for connection in self._behind if connection.free_at <= now]
        for connection in due[: max(1, most)]:
            self._behind.pop(connection, None)
            while (frame := connection.take(now)) is not None:
                yield frame, (connection,)
            if connection.closed:
                yield "", (connection,)
            elif connection.can_go_on:
                self._behind[connection] = None
        self._look_at = min((connection.free_at for connection in self._behind), default=float("inf"))

    @property
    def wake_at(self) -> float | None:
        """When `turn` has something to do; None while it has not."""
        if self._rounds:
            return float("-inf")
        times = [self._look_at] if self._behind else []
        if self._held:
            times.append(next(iter(self._free_at.values())))
        return min(times, default=None)


_NOBODY: Final[AbstractSet[Connection]] = frozenset()


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
