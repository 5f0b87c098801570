"""One follower's state machine, whatever the transport.

    WAITING ──admit──▶ ATTACHED ──catch_up──▶ LIVE ──close──▶ CLOSED

Envelopes and acknowledgements in (`offer`, `ack`), frames out (`take`): it does no I/O and reads no
clock. The hub asks it for frames when they are due. Between `admit` and `catch_up` offers are already conflated
into their slots but not yet sent: attach first, read the snapshot second, and let the snapshots' order sort out
the overlap. A connection that has nothing waiting `is_ready`: then one frame, made once, serves it and all others
that are (`serving.py`), and what it costs is a few plain attributes.

What waits is bounded: one slot a task, whatever the pace (a slow reader costs a slot, never a queue),
and `ConnectionPolicy.queue` notices and events. Past that, a notice is left to the next re-read of the store, which
keeps it until shown; an event is lost to nobody else, so the connection is closed with a reason and comes
back by recovery. Flow control is ours, by acknowledged text, for servers differ: some never push back.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Final

from telltale.core import reasons
from telltale.core.policy import ConnectionPolicy, Grant, Phase
from telltale.core.reasons import Reason
from telltale.core.snapshot import Order
from telltale.core.wire import VERSION, Envelope, Kind, encode, update


class Connection:
    """See the module. Instants are the store's clock, in seconds."""

    __slots__ = (
        "__weakref__",
        "_acked",
        "_asked",
        "_broke_at",
        "_credit",
        "_heard_at",
        "_is_greeted",
        "_mark",
        "_n",
        "_newest",
        "_numbers",
        "_owed",
        "_queue",
        "_seen",
        "_slots",
        "_within_s",
        "closed",
        "form",
        "free_at",
        "grant",
        "is_blocked",
        "is_ready",
        "limits",
        "look_at",
        "outlet",
        "phase",
        "policy",
        "write",
    )

    def __init__(
        self,
        *,
        opened_at: float,
        policy: ConnectionPolicy = ConnectionPolicy(),  # noqa: B008 (a value)
        limits: Mapping[str, float] | None = None,
        numbers: Iterator[int] | None = None,
    ) -> None:
        """`limits`: the thresholds of health, told to the client. `numbers`: of frames; its hub's, where it has one."""
        self.policy = policy
        self.limits = limits or {}
        self.phase = Phase.WAITING
        self.grant: Grant | None = None
        self.closed: Reason | None = None
        self.outlet: Any = None
        self.form: Callable[[str], Any] = str
        self.write: Callable[[Any], object] = _nowhere
        """Its driver's way to the client, with two of its parts at hand; nothing here looks at them."""
        self.is_ready = False
        """Live, with nothing waiting and with credit: a frame that is made for many may go to it, from `free_at` on."""
        self.free_at = float("-inf")
        """When the next frame may go."""
        self.is_blocked = False
        """Its line takes nothing more just now."""
        self.look_at = opened_at + policy.admit_s
        """Nothing becomes due by itself before: whoever has many of them need not look."""
        self._numbers = count(1) if numbers is None else numbers
        self._credit: float = float("inf") if policy.credit is None else policy.credit
        self._newest: dict[str, Order] = {}
        self._slots: dict[str, Envelope] = {}
        self._queue: list[Envelope] = []
        self._seen: dict[str, None] = {}
        self._is_greeted = False
        self._n = 0
        self._owed = 0
        self._mark = (0, 0)  # A frame's number, and what is owed up to it: one acknowledgement is looked for at a time.
        self._acked = 0
        self._asked = False
        self._broke_at: float | None = None
        self._heard_at = opened_at
        self._within_s: float | None = None

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
        self._settle(now)

    def close(self, reason: Reason, *, within_s: float | None = None) -> None:
        """End it; the first reason stands. `take` yields nothing more, `farewell` says why.

        `within_s`: where many end at once, the seconds over which they should come back, each at a moment of chance.
        """
        if self.phase is not Phase.CLOSED:
            self.phase, self.closed, self.is_ready = Phase.CLOSED, reason, False
            self._within_s = within_s
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
        if envelope.kind is Kind.SNAPSHOT:
            self._offer_snapshot(envelope)
        elif envelope.kind is Kind.NOTICE:
            self._offer_notice(envelope)
        elif envelope.kind is Kind.EVENT:
            if len(self._queue) >= self.policy.queue:
                return self.close(reasons.RESYNC)
            self._queue.append(envelope)
        self.is_ready = self.is_ready and not self._waits

    def catch_up(self, envelopes: Iterable[Envelope]) -> None:
        """What the store knew after `admit`: from here on it is live."""
        for envelope in envelopes:
            self.offer(envelope)
        if self.phase is Phase.ATTACHED:
            self.phase = Phase.LIVE

    def _offer_snapshot(self, envelope: Envelope) -> None:
        task, order = envelope.about, envelope.order
        if order <= self._newest.get(task, _NOTHING):
            return
        if task not in self._slots and len(self._slots) >= self.policy.remembered:
            return self.close(reasons.RESYNC)
        self._slots[task] = envelope
        self._remember(task, order)

    def _offer_notice(self, envelope: Envelope) -> None:
        # One that finds no room is not remembered either: the next re-read offers it again.
        if envelope.about not in self._seen and len(self._queue) < self.policy.queue:
            self._see(envelope.about)
            self._queue.append(envelope)

    def _drop_uncovered(self) -> None:
        self._queue = [e for e in self._queue if self.follows(e.topics)]
        for task in [task for task, e in self._slots.items() if not self.follows(e.topics)]:
            # Forgotten too: a later ticket that covers it again must bring it.
            del self._slots[task], self._newest[task]

    def _see(self, notice: str) -> None:
        self._seen[notice] = None
        if len(self._seen) > self.policy.remembered:
            del self._seen[next(iter(self._seen))]

    def _remember(self, task: str, order: Order) -> None:
        self._newest.pop(task, None)  # So that it stands last: the first to stand is the first to be forgotten.
        self._newest[task] = order
        if len(self._newest) <= self.policy.remembered:
            return
        # What waits must stay remembered, or an older snapshot could take its slot.
        forgotten = next((task for task in self._newest if task not in self._slots), None)
        if forgotten is not None:
            del self._newest[forgotten]

    # What goes out -------------------------------------------------------------------------------

    def take(self, now: float) -> str | None:
        """The next frame, holding all that is pending; None while there is nothing, or it must wait."""
        self.tick(now)
        self.free_at = min(self.free_at, now + self.policy.pace_s)  # a clock that was put back must not silence it
        if self.phase is not Phase.LIVE or self.is_blocked or now < self.free_at:
            return None
        if not self._has_credit:
            return self._ask(now)
        if not self._is_greeted:
            self._is_greeted = True
            return self._sent(self._hello(now), now, paced=False)
        if self._waits:
            return self._sent(self._update(now), now)
        if now >= self._ask_at:
            return self._ask(now)
        if now >= self._ping_at:
            return self._ping(now)
        return None

    @property
    def pending(self) -> bool:
        """Whether anything waits to be sent."""
        return self._waits or not self._is_greeted

    @property
    def can_go_on(self) -> bool:
        """Whether what waits needs nothing but time."""
        return self.phase is Phase.LIVE and self.pending and self._has_credit

    @property
    def _waits(self) -> bool:
        return bool(self._slots or self._queue)

    @property
    def _ping_at(self) -> float:
        return self.free_at - self.policy.pace_s + self.policy.ping_s

    @property
    def _ask_at(self) -> float:
        """When it must be asked whether it is there: who hears little and often owes too little to speak by itself."""
        if self.policy.credit is None or self._asked:
            return float("inf")
        return self._heard_at + self.policy.silence_s / 2

    @property
    def wake_at(self) -> float | None:
        """When to call `take` again if nothing happens before; None once closed."""
        if self.phase is Phase.CLOSED:
            return None
        if self.phase is not Phase.LIVE:
            return self._heard_at + self.policy.admit_s
        assert self.grant is not None
        times = [self.grant.expires_at]
        if self._has_credit:
            times.append(self.free_at if self.pending else min(self._ping_at, max(self._ask_at, self.free_at)))
        elif not self._asked and not self.is_blocked:
            times.append(self.free_at)
        if self._broke_at is not None:
            times.append(self._broke_at + self.policy.slow_s)
        if self.policy.credit is not None:
            times.append(self._heard_at + self.policy.silence_s)
        return min(times)

    def look(self, now: float) -> str | None:
        """The frame that became due by itself, if one did; not to be called before `look_at`."""
        frame = self.take(now)
        self._look_again()
        return frame

    def farewell(self) -> str:
        """The last message, where the transport can still carry one."""
        assert self.closed is not None
        reason = self.closed
        hint = {} if self._within_s is None else {"within_s": self._within_s}
        return encode({"type": "bye", "code": reason.code, "reason": reason.word, "again": reason.again, **hint})

    def _hello(self, now: float) -> str:
        assert self.grant is not None
        return encode(
            {
                "type": "hello",
                "v": VERSION,
                "n": self._next(),
                "now": round(now, 3),
                "topics": sorted(self.grant.topics),
                "expires_at": self.grant.expires_at,
                "limits": dict(self.limits),
                **({} if self.policy.credit is None else {"ack_every": self.policy.credit // 4}),
            }
        )

    def _update(self, now: float) -> str:
        tasks: list[str] = []
        notices: list[str] = []
        events: list[str] = []
        room, queued = self.policy.frame, 0
        while self._slots and room > 0:
            tasks.append(self._slots.pop(next(iter(self._slots))).text)
            room -= len(tasks[-1])
        while queued < len(self._queue) and room > 0:
            envelope = self._queue[queued]
            (notices if envelope.kind is Kind.NOTICE else events).append(envelope.text)
            room -= len(envelope.text)
            queued += 1
        del self._queue[:queued]
        return update(self._next(), now, tasks=tasks, notices=notices, events=events)

    def _ping(self, now: float) -> str:
        self.free_at = now + self.policy.pace_s
        return f'{{"type":"ping","now":{now:.3f}}}'

    def _ask(self, now: float) -> str | None:
        # A client acknowledges now and then: what it owes less than that for, it must be asked for.
        if self._asked:
            return None
        self._asked = True
        return self._question(now)

    def _question(self, now: float) -> str:
        """A ping that is numbered, and so acknowledged at once."""
        return self._sent(f'{{"type":"ping","n":{self._next()},"now":{now:.3f}}}', now)

    def _next(self) -> int:
        self._n = next(self._numbers)
        return self._n

    def _sent(self, frame: str, now: float, *, paced: bool = True) -> str:
        # The greeting is no news: what is pending behind it must not wait for a tick.
        self.free_at = now + self.policy.pace_s if paced else now
        self._owed += len(frame)
        self._settle(now)
        return frame

    def _settle(self, now: float) -> None:
        """Whatever has changed: whether it is ready, and when it is to be looked at."""
        has_credit = self._has_credit
        self.is_ready = self.phase is Phase.LIVE and self._is_greeted and has_credit and not self._waits
        if has_credit:
            self._broke_at = None
        elif self._broke_at is None:
            self._broke(now)
        self._look_again()

    def _look_again(self) -> None:
        wake_at = self.wake_at
        self.look_at = float("inf") if wake_at is None else wake_at

    def _broke(self, now: float) -> None:
        self.is_ready = False
        self._broke_at = now
        self.look_at = min(self.look_at, now + self.policy.slow_s)

    # What comes in -------------------------------------------------------------------------------

    def ack(self, n: int, *, now: float) -> None:
        """The client has handled all frames up to number `n`."""
        self._heard_at = now
        number, up_to_it = self._mark
        if n >= self._n:
            self._owed, self._mark = 0, (self._n, 0)
        elif n >= number:
            self._owed -= up_to_it
            self._mark = (self._n, self._owed)
        if n > self._acked:
            self._acked, self._asked = n, False
            self._broke_at = None  # It gets on, if slowly.
        self._settle(now)

    def block(self, now: float) -> None:
        """The line takes nothing more just now: what comes is kept, newest by newest."""
        self.is_blocked = True
        self._settle(now)

    def unblock(self, now: float) -> None:
        """The line takes more."""
        self.is_blocked = False
        self._settle(now)

    def tick(self, now: float) -> None:
        """Close it if its time is up: no ticket, an expired one, too slow, or silent."""
        policy = self.policy
        if self.phase is Phase.CLOSED:
            return
        if self.phase is not Phase.LIVE:
            if now >= self._heard_at + policy.admit_s:
                self.close(reasons.NO_TICKET if self.grant is None else reasons.RESYNC)
            return
        assert self.grant is not None
        if now >= self.grant.expires_at:
            self.close(reasons.EXPIRED)
        elif self._broke_at is not None and now >= self._broke_at + policy.slow_s:
            self.close(reasons.SLOW)
        elif policy.credit is not None and now >= self._heard_at + policy.silence_s:
            self.close(reasons.SILENT)

    @property
    def _has_credit(self) -> bool:
        return self._owed < self._credit and not self.is_blocked


def _nowhere(_payload: Any) -> None:
    """Where a connection writes that nobody has given an outlet."""


_NOTHING: Final[Order] = (0, False, -1)
"""Older than every snapshot."""
