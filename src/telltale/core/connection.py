"""The state machine of one client, for every transport: what it gets, when, and why it is closed.

    WAITING ──admit──▶ ATTACHED ──catch_up──▶ LIVE ──close──▶ CLOSED

Envelopes and acknowledgements go in (`offer`, `ack`), frames come out (`take`). A connection does no I/O and reads no
clock. Between `admit` and `catch_up` envelopes are kept and not yet sent: attach first, read the snapshot second,
and the order of snapshots sorts out the overlap.

A connection that has nothing waiting `is_ready`: then it shares one frame with all others that are (`hub.fan_out`).
What waits is in its `Outbox`; how much may be sent is decided by its base class, `FlowControl`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Final

from telltale.core import protocol, reasons
from telltale.core.clock_offset import ClockOffset
from telltale.core.flow import FlowControl
from telltale.core.health import Limits
from telltale.core.outbox import Outbox
from telltale.core.policy import ConnectionPolicy, Grant, Phase
from telltale.core.reasons import Reason
from telltale.core.snapshot import Order, supersedes
from telltale.core.wire import Envelope

NEVER: Final = float("inf")


class Connection(FlowControl):
    """See the module. `now` is in seconds by a clock that is never set; `offset` leads to the store's clock."""

    __slots__ = (
        "__weakref__",
        "_claimed",
        "_frame_numbers",
        "_heard_at",
        "_within_s",
        "closed",
        "due_at",
        "form",
        "free_at",
        "grant",
        "is_greeted",
        "is_ready",
        "limits",
        "newest",
        "offset",
        "outbox",
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
        limits: Limits = Limits(),  # noqa: B008 (a value)
        frame_numbers: Iterator[int] | None = None,
        offset: ClockOffset | None = None,
    ) -> None:
        """`limits`: the thresholds of health, for the client. `frame_numbers`, `offset`: its hub's, if it has a hub."""
        super().__init__(policy.credit)
        self.policy = policy
        self.limits = limits
        self.offset = ClockOffset() if offset is None else offset
        self.phase = Phase.WAITING
        self.grant: Grant | None = None
        self.closed: Reason | None = None
        self.outlet: Any = None
        self.form: Callable[[str], Any] = str
        self.write: Callable[[Any], object] = _write_nowhere
        """Set by the driver. `form` and `write` are copied from `outlet` for speed; unused here."""
        self.outbox = Outbox(policy)
        self.newest = self.outbox.newest
        """The outbox's own dict, here too because `fan_out` reads it at every delivery."""
        self.is_greeted = False
        self.is_ready = False
        """Live, greeted, with credit and nothing waiting: a shared frame may go to it, from `free_at` on."""
        self.free_at = float("-inf")
        """When the next frame may go."""
        self.due_at = opened_at + policy.admit_s
        """No frame and no end becomes due before this, unless something happens."""
        self._frame_numbers = count(1) if frame_numbers is None else frame_numbers
        self._heard_at = opened_at
        self._within_s: float | None = None
        self._claimed: Mapping[str, Order] = {}
        """What the client says that it shows, until the store was read."""

    # Its ticket and its end ----------------------------------------------------------------------

    def admit(
        self,
        grant: Grant,
        *,
        have: Mapping[str, Order] | None = None,
        seen: Iterable[str] = (),
        now: float,
    ) -> None:
        """Accept a verified ticket. Attach to the hub next, then read the store and `catch_up`.

        `have`: the orders of the snapshots that the client shows, by task; `seen`: the ids of its notices. A second
        call renews the ticket: the grant is replaced, what waits but is not covered any more is dropped, and the tasks
        that were given up are forgotten.
        """
        if self.phase is Phase.CLOSED:
            return
        if self._store_time(now) >= grant.expires_at:
            return self.close(reasons.EXPIRED)
        given_up = frozenset() if self.grant is None else self.grant.topics - grant.topics
        self.grant = grant
        self._heard_at = now
        self._claimed = {**self._claimed, **(have or {})}
        for task, order in (have or {}).items():
            if supersedes(order, self.newest.get(task)):
                self.outbox.remember(task, order)
        for notice in seen:
            self.outbox.remember_notice(notice)
        self.outbox.keep_only(lambda envelope: self.follows(envelope.topics))
        for topic in given_up:
            self.outbox.forget(topic.removeprefix("task:"))
        if self.phase is Phase.WAITING:
            self.phase = Phase.ATTACHED
        self._settle(now)

    def close(self, reason: Reason, *, within_s: float | None = None) -> None:
        """Close it; the first reason stands. `take` yields nothing more, `bye` is the last message.

        `within_s`: where many are closed at once, the seconds over which they return, each at a random moment.
        """
        if self.phase is not Phase.CLOSED:
            self.phase, self.closed, self.is_ready = Phase.CLOSED, reason, False
            self._within_s = within_s
            self.outbox.clear()

    def close_if_overdue(self, now: float) -> None:
        """Close it if its time is up: no ticket, an expired one, too slow, or silent."""
        policy = self.policy
        if self.phase is Phase.CLOSED:
            return
        if self.phase is not Phase.LIVE:
            if now >= self._heard_at + policy.admit_s:
                self.close(reasons.NO_TICKET if self.grant is None else reasons.RESYNC)
            return
        assert self.grant is not None
        if self._store_time(now) >= self.grant.expires_at:
            self.close(reasons.EXPIRED)
        elif self.stopped_at is not None and now >= self.stopped_at + policy.slow_s:
            self.close(reasons.SLOW)
        elif policy.credit is not None and now >= self._heard_at + policy.silence_s:
            self.close(reasons.SILENT)

    def bye(self) -> str:
        """The last message of a closed connection, where the transport can still carry one."""
        assert self.closed is not None
        return protocol.bye(self.closed, within_s=self._within_s)

    # Envelopes in --------------------------------------------------------------------------------

    def follows(self, topics: Iterable[str]) -> bool:
        """Whether the present ticket covers one of `topics`."""
        return self.grant is not None and not self.grant.topics.isdisjoint(topics)

    def offer(self, envelope: Envelope) -> None:
        """Keep `envelope` for the next frame, if the ticket covers it and it is newer than what the client has.

        An event that finds no room is in no store, so the connection is closed, and the client recovers by returning.
        """
        if self.phase is Phase.CLOSED or not self.follows(envelope.topics):
            return
        if not self.outbox.add(envelope):
            return self.close(reasons.RESYNC)
        self.is_ready = self.is_ready and self.outbox.is_empty

    def correct(self, envelope: Envelope) -> None:
        """Send what was read from the store, and have the client forget its snapshot of this task if it is newer."""
        known = self.newest.get(envelope.about)
        if known is None or self.phase is Phase.CLOSED or not self.follows(envelope.topics):
            return
        if supersedes(known, envelope.order):
            self.outbox.correct(envelope)
            self.is_ready = False

    def catch_up(self, envelopes: Iterable[Envelope]) -> None:
        """Keep what the store knew after `admit`; from now on the connection is live."""
        claimed, self._claimed = self._claimed, {}
        for envelope in envelopes:
            order = claimed.get(envelope.about)
            if order is not None and envelope.denies(order, now=self._store_time(self._heard_at)):
                self.correct(envelope)
            self.offer(envelope)
        if self.phase is Phase.ATTACHED:
            self.phase = Phase.LIVE

    # Frames out ----------------------------------------------------------------------------------

    def take(self, now: float) -> str | None:
        """Return the next frame, with all that waits; None while nothing is to be sent or it must wait."""
        self.close_if_overdue(now)
        self.free_at = min(self.free_at, now + self.policy.pace_s)  # Also a clock that is put back must not silence it.
        if self.phase is not Phase.LIVE or self.is_blocked or now < self.free_at:
            return None
        if not self.has_credit:
            return self._question(now)
        if not self.is_greeted:
            return self._hello(now)
        if not self.outbox.is_empty:
            tasks, notices, events, corrected = self.outbox.take(self.policy.max_frame)
            n, at = self._number(), self._store_time(now)
            frame = protocol.update(n, at, tasks=tasks, notices=notices, events=events, corrected=corrected)
            return self._sent(frame, now)
        if now >= self._ask_at:
            return self._question(now)
        if now >= self._ping_at:
            self.free_at = now + self.policy.pace_s
            return protocol.ping(self._store_time(now))
        return None

    def take_due(self, now: float) -> str | None:
        """Return the frame that became due by time alone, if any; don't call it before `due_at`."""
        frame = self.take(now)
        self._set_due_at()
        return frame

    def _hello(self, now: float) -> str:
        assert self.grant is not None
        self.is_greeted = True
        grant, limits, credit = self.grant, self.limits, self.policy.credit
        frame = protocol.hello(self._number(), self._store_time(now), grant=grant, limits=limits, credit=credit)
        # The greeting does not count for the pace: what waits behind it goes at once.
        return self._sent(frame, now, pace_s=0.0)

    def _question(self, now: float) -> str | None:
        """Ask for an acknowledgement, once: a client that has received little acknowledges nothing by itself."""
        if self.is_ack_requested:
            return None
        self.is_ack_requested = True
        return self._sent(protocol.ping(self._store_time(now), n=self._number()), now)

    def _number(self) -> int:
        self.last_number = next(self._frame_numbers)
        return self.last_number

    def _sent(self, frame: str, now: float, *, pace_s: float | None = None) -> str:
        self.free_at = now + (self.policy.pace_s if pace_s is None else pace_s)
        self.credit_left -= len(frame)
        self._settle(now)
        return frame

    # When ----------------------------------------------------------------------------------------

    @property
    def has_pending(self) -> bool:
        """Whether a greeting or an envelope waits to be sent."""
        return not (self.is_greeted and self.outbox.is_empty)

    @property
    def can_send(self) -> bool:
        """Whether something waits that needs nothing but time."""
        return self.phase is Phase.LIVE and self.has_pending and self.has_credit

    @property
    def wake_at(self) -> float | None:
        """When to call `take` again if nothing happens before; None once closed."""
        policy = self.policy
        if self.phase is Phase.CLOSED:
            return None
        if self.phase is not Phase.LIVE:
            return self._heard_at + policy.admit_s
        assert self.grant is not None
        times = [self.grant.expires_at - self.offset.seconds]
        if self.has_credit:
            times.append(self.free_at if self.has_pending else min(self._ping_at, max(self._ask_at, self.free_at)))
        elif not self.is_ack_requested and not self.is_blocked:
            times.append(self.free_at)
        if self.stopped_at is not None:
            times.append(self.stopped_at + policy.slow_s)
        if policy.credit is not None:
            times.append(self._heard_at + policy.silence_s)
        return min(times)

    @property
    def _ping_at(self) -> float:
        return self.free_at - self.policy.pace_s + self.policy.ping_s

    @property
    def _ask_at(self) -> float:
        """When to ask whether the client is there: one that gets little, if often, acknowledges nothing by itself."""
        if self.policy.credit is None or self.is_ack_requested:
            return NEVER
        return self._heard_at + self.policy.silence_s / 2

    def _settle(self, now: float) -> None:
        """After any change: work out whether it is ready, and when something is due."""
        self._note_stop(now)
        self.is_ready = self.phase is Phase.LIVE and self.has_credit and not self.has_pending
        self._set_due_at()

    def _store_time(self, now: float) -> float:
        return now + self.offset.seconds

    def _set_due_at(self) -> None:
        wake_at = self.wake_at
        self.due_at = NEVER if wake_at is None else wake_at

    # From the client -----------------------------------------------------------------------------

    def ack(self, n: int, *, now: float) -> None:
        """The client has handled all frames up to number `n`."""
        self._heard_at = now
        self._acknowledge(n)
        self._settle(now)

    def block(self, now: float) -> None:
        """The client's socket accepts nothing more at the moment: only the newest of each task is kept."""
        self.is_blocked = True
        self._settle(now)

    def unblock(self, now: float) -> None:
        """The client's socket accepts more."""
        self.is_blocked = False
        self._settle(now)

    def stop(self, now: float) -> None:
        """A shared frame has used up its credit."""
        self.is_ready = False
        self.stopped_at = now
        self.due_at = min(self.due_at, now + self.policy.slow_s)


def _write_nowhere(_payload: Any) -> None:
    """Where a connection without an outlet writes."""
