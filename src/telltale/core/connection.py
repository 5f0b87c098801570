"""One follower's state machine, whatever the transport.

    WAITING ──admit──▶ ATTACHED ──catch_up──▶ LIVE ──close──▶ CLOSED

Envelopes and acknowledgements in (`offer`, `ack`), frames out (`take`): it does no I/O and reads no
clock. A driver (`transports/`) owns the socket and asks `wake_at` when to look again. Between `admit` and `catch_up`
offers are already conflated into their slots but not yet sent: attach first, read the snapshot
second, and let the snapshots' order sort out the overlap.

What waits is bounded: one slot a task, whatever the pace (a slow reader costs a slot, never a queue),
and `Terms.queue` notices and events. Past that, a notice is left to the next re-read of the store, which
keeps it until shown; an event is lost to nobody else, so the connection is closed with a reason and comes
back by recovery. Flow control is ours, by acknowledged text, for servers differ: some never push back.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from telltale.core import reasons
from telltale.core.reasons import Reason
from telltale.core.snapshot import Order
from telltale.core.wire import VERSION, Envelope, encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a server treats its followers. Times in seconds, sizes in characters of encoded text."""

    admit_s: float = 10.0
    """A follower without a ticket is closed after this, and so is one whose snapshot can't be read."""
    pace_s: float = 0.1
    """Least time between two frames: the first goes at once, what follows waits for the tick."""
    ping_s: float = 15.0
    """Something is sent at least this often, so that proxies and clients see life."""
    silence_s: float = 40.0
    """A follower that acknowledges, and was not heard for this long, is closed."""
    credit: int | None = 65_536
    """Unacknowledged text beyond which nothing more is sent; None where the transport has no way back."""
    frame: int = 65_536
    """A frame that has grown beyond this is full; what still waits goes with the next."""
    slow_s: float = 10.0
    """Nothing acknowledged for this long while out of credit: closed."""
    queue: int = 200
    """Notices and events that may wait."""
    remembered: int = 1_000
    """Tasks and notices whose newest is remembered, so that nothing is sent twice; tasks that may wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a verified ticket allows."""

    topics: frozenset[str]
    expires_at: float
    follower: str = ""
    """Whom the ticket was signed for: a user or session topic; empty for nobody in particular."""


class Phase(Enum):
    """Where a connection stands."""

    WAITING = "waiting for a ticket"
    ATTACHED = "attached to the hub, waiting for the snapshot"
    LIVE = "live"
    CLOSED = "closed"


@dataclass(eq=False, slots=True)
class Connection:
    """See the module. Instants are the store's clock, in seconds."""

    opened_at: float
    terms: Terms = field(default_factory=Terms)
    limits: Mapping[str, float] = field(default_factory=dict)
    """The thresholds of health, told to the client in `hello`."""
    phase: Phase = Phase.WAITING
    grant: Grant | None = None
    closed: Reason | None = None
    _newest: "OrderedDict[str, Order]" = field(default_factory=OrderedDict)
    _slots: dict[str, Envelope] = field(default_factory=dict)
    _queue: "deque[Envelope]" = field(default_factory=deque)
    _seen: "OrderedDict[str, None]" = field(default_factory=OrderedDict)
    _greeted: bool = False
    _n: int = 0
    _unacked: "deque[tuple[int, int]]" = field(default_factory=deque)
    _owed: int = 0
    _broke_at: float | None = None
    _sent_at: float = float("-inf")
    _heard_at: float = 0.0

    def __post_init__(self) -> None:
        self._heard_at = self.opened_at

    # Who they are ------------------------------------------------------------------------------

    def admit(
        self,
        grant: Grant,
        *,
        have: Mapping[str, Order] | None = None,
        seen: Iterable[str] = (),
        now: float,
    ) -> None:
        """Accept a verified ticket. Attach to the hub next, then read the store and `catch_up`.

        `have` is what the client shows already, by task; `seen` the notices that it has. A second call
        renews the ticket: the grant is replaced, and what waits but is covered no more is dropped.
        """
        if self.phase is Phase.CLOSED:
            return
        if now >= grant.expires_at:
            return self.close(reasons.EXPIRED)
        self.grant = grant
        self._heard_at = now
        for task, order in (have or {}).items():
            if order > self._newest.get(task, _NOTHING):
                self._remember(task, order)
        for notice in seen:
            self._see(notice)
        self._drop_uncovered()
        if self.phase is Phase.WAITING:
            self.phase = Phase.ATTACHED

    def close(self, reason: Reason) -> None:
        """End it; the first reason stands. `take` yields nothing more, `farewell` says why."""
        if self.phase is not Phase.CLOSED:
            self.phase, self.closed = Phase.CLOSED, reason
            self._slots.clear()
            self._queue.clear()

    def follows(self, topics: Iterable[str]) -> bool:
        """Whether the present ticket covers one of `topics`."""
        return self.grant is not None and not self.grant.topics.isdisjoint(topics)

    # What they should know -----------------------------------------------------------------------

    def offer(self, envelope: Envelope) -> None:
        """Something happened. Kept if it is theirs and newer than what they have; the newest wins."""
        if self.phase is Phase.CLOSED or not self.follows(envelope.topics):
            return
        if envelope.snapshot is not None:
            self._offer_snapshot(envelope)
        elif envelope.notice is not None:
            self._offer_notice(envelope, envelope.notice.id)
        elif envelope.event is not None:
            if len(self._queue) >= self.terms.queue:
                return self.close(reasons.RESYNC)
            self._queue.append(envelope)

    def catch_up(self, envelopes: Iterable[Envelope]) -> None:
        """What the store knew after `admit`: from here on it is live."""
        for envelope in envelopes:
            self.offer(envelope)
        if self.phase is Phase.ATTACHED:
            self.phase = Phase.LIVE

    def _offer_snapshot(self, envelope: Envelope) -> None:
        snapshot = envelope.snapshot
        assert snapshot is not None
        if snapshot.order <= self._newest.get(snapshot.id, _NOTHING):
            return
        if snapshot.id not in self._slots and len(self._slots) >= self.terms.remembered:
            return self.close(reasons.RESYNC)
        self._slots[snapshot.id] = envelope
        self._remember(snapshot.id, snapshot.order)

    def _offer_notice(self, envelope: Envelope, notice: str) -> None:
        # One that finds no room is not remembered either: the next re-read offers it again.
        if notice not in self._seen and len(self._queue) < self.terms.queue:
            self._see(notice)
            self._queue.append(envelope)

    def _drop_uncovered(self) -> None:
        self._queue = deque(e for e in self._queue if self.follows(e.topics))
        for task in [task for task, e in self._slots.items() if not self.follows(e.topics)]:
            # Forgotten too: a later ticket that covers it again must bring it.
            del self._slots[task], self._newest[task]

    def _see(self, notice: str) -> None:
        self._seen[notice] = None
        if len(self._seen) > self.terms.remembered:
            self._seen.popitem(last=False)

    def _remember(self, task: str, order: Order) -> None:
        self._newest[task] = order
        self._newest.move_to_end(task)
        if len(self._newest) <= self.terms.remembered:
            return
        # What waits must stay remembered, or an older snapshot could take its slot.
        forgotten = next((task for task in self._newest if task not in self._slots), None)
        if forgotten is not None:
            del self._newest[forgotten]

    # What goes out -------------------------------------------------------------------------------

    def take(self, now: float) -> str | None:
        """The next frame, holding all that is pending; None while there is nothing, or it must wait."""
        self.tick(now)
        self._sent_at = min(self._sent_at, now)  # a clock that was put back must not silence it
        if self.phase is not Phase.LIVE or now < self._sent_at + self.terms.pace_s or not self._has_credit:
            return None
        if not self._greeted:
            self._greeted = True
            return self._sent(self._hello(now), now, paced=False)
        if self._slots or self._queue:
            return self._sent(self._update(now), now)
        if now >= self._sent_at + self.terms.ping_s:
            return self._sent(f'{{"type":"ping","n":{self._next},"now":{now:.3f}}}', now, paced=False)
        return None

    @property
    def pending(self) -> bool:
        """Whether anything waits to be sent."""
        return bool(self._slots or self._queue) or not self._greeted

    @property
    def wake_at(self) -> float | None:
        """When the driver should call `take` again if nothing happens before; None once closed."""
        if self.phase is Phase.CLOSED:
            return None
        if self.phase is not Phase.LIVE:
            return self._heard_at + self.terms.admit_s
        assert self.grant is not None
        times = [self.grant.expires_at]
        if self._has_credit:
            times.append(self._sent_at + (self.terms.pace_s if self.pending else self.terms.ping_s))
        if self._broke_at is not None:
            times.append(self._broke_at + self.terms.slow_s)
        if self.terms.credit is not None:
            times.append(self._heard_at + self.terms.silence_s)
        return min(times)

    def farewell(self) -> str:
        """The last message, where the transport can still carry one."""
        assert self.closed is not None
        reason = self.closed
        return encode({"type": "bye", "code": reason.code, "reason": reason.word, "again": reason.again})

    def _hello(self, now: float) -> str:
        assert self.grant is not None
        return encode(
            {
                "type": "hello",
                "v": VERSION,
                "n": self._next,
                "now": round(now, 3),
                "topics": sorted(self.grant.topics),
                "expires_at": self.grant.expires_at,
                "limits": dict(self.limits),
            }
        )

    def _update(self, now: float) -> str:
        tasks: list[str] = []
        notices: list[str] = []
        events: list[str] = []
        room = self.terms.frame
        while self._slots and room > 0:
            tasks.append(self._slots.pop(next(iter(self._slots))).text)
            room -= len(tasks[-1])
        while self._queue and room > 0:
            envelope = self._queue.popleft()
            (notices if envelope.notice else events).append(envelope.text)
            room -= len(envelope.text)
        return (
            f'{{"type":"update","n":{self._next},"now":{now:.3f},'
            f'"tasks":[{",".join(tasks)}],"notices":[{",".join(notices)}],"events":[{",".join(events)}]}}'
        )

    @property
    def _next(self) -> int:
        return self._n + 1

    def _sent(self, frame: str, now: float, *, paced: bool = True) -> str:
        self._n += 1
        # The greeting is no news: what is pending behind it must not wait for a tick.
        self._sent_at = now if paced else now - self.terms.pace_s
        if self.terms.credit is not None:
            size = len(frame)
            self._unacked.append((self._n, size))
            self._owed += size
            if not self._has_credit:
                self._broke_at = now
        return frame

    # What comes in -------------------------------------------------------------------------------

    def ack(self, n: int, *, now: float) -> None:
        """The client has handled all frames up to number `n`."""
        self._heard_at = now
        owed = self._owed
        while self._unacked and self._unacked[0][0] <= n:
            self._owed -= self._unacked.popleft()[1]
        if self._has_credit:
            self._broke_at = None
        elif self._owed < owed:
            self._broke_at = now

    def tick(self, now: float) -> None:
        """Close it if its time is up: no ticket, an expired one, too slow, or silent."""
        terms = self.terms
        if self.phase is Phase.CLOSED:
            return
        if self.phase is not Phase.LIVE:
            if now >= self._heard_at + terms.admit_s:
                self.close(reasons.NO_TICKET if self.grant is None else reasons.RESYNC)
            return
        assert self.grant is not None
        if now >= self.grant.expires_at:
            self.close(reasons.EXPIRED)
        elif self._broke_at is not None and now >= self._broke_at + terms.slow_s:
            self.close(reasons.SLOW)
        elif terms.credit is not None and now >= self._heard_at + terms.silence_s:
            self.close(reasons.SILENT)

    @property
    def _has_credit(self) -> bool:
        return self.terms.credit is None or self._owed < self.terms.credit


_NOTHING: Order = (0, False, -1)
"""Older than every snapshot."""
