"""The ledger: records every commit and everything that pages show, and raises `Broken` when a promise is broken.

It uses none of the mechanisms, so it finds what breaks when one is removed. The promises: I1 nothing is shown that was
not committed; I2 an attempt ends once and is not written after it; I3 a fenced worker writes nothing; I4 no page goes
backwards; I5 to I7 all pages agree with the store in the end; I8 no task runs forever, and no task is lost while its
worker is heard; I9 a task that was cancelled before it ran never runs, and its worker learns of a cancellation; I10 a
living worker whose attempt was presumed lost continues it, unless a newer one began; N a notice is shown once; P no
page shows tasks or notices of other people, or gets anything after its ticket expired; R what a client has not
acknowledged is bounded. Only what a stranger publishes over the broker is exempt from I1 and I4, until it is corrected.
"""

from collections import Counter

from telltale.core.snapshot import Order, Snapshot
from telltale.core.states import MOVES, State

LEASE_S = 105.0


class Broken(AssertionError):
    """A promise was broken."""


def require(kept: bool, violation: str) -> None:
    """Raise `Broken` with the text of the `violation` unless the promise was kept."""
    if not kept:
        raise Broken(violation)


class Ledger:
    """All commits, reports and shown snapshots of one history."""

    def __init__(self) -> None:
        self.attempts: set[tuple[str, int]] = set()
        self.ends: dict[tuple[str, int], Snapshot] = {}
        self.reported: dict[tuple[str, int], float] = {}
        self.forged: set[tuple[str, Order]] = set()
        """The snapshots that a stranger has published."""
        self.shown_notices: set[str] = set()
        self.took_back: set[tuple[str, int]] = set()
        """The attempts that were presumed lost and continued under the next number."""
        self.events: Counter[str] = Counter()
        """The events of this history, to see whether the histories include every kind."""

    def committed(self, old: Snapshot | None, new: Snapshot, *, fence: int | None) -> None:
        """A row changed from `old` to `new`; `fence` is the attempt of the worker that wrote it."""
        key = (new.id, new.attempt)
        if old is not None and old.attempt == new.attempt:
            require(not old.ended, f"I2: attempt {old.attempt} ended {old.state}, and was written again as {new.state}")
            require(new.state is old.state or new.state in MOVES[old.state], f"I2: {old.state} became {new.state}")
            require(new.seq >= old.seq, f"I4: the row went from seq {old.seq} back to {new.seq}")
            is_forgotten = old.cancel_requested and not new.cancel_requested
            require(not is_forgotten, "I9: a cancellation was requested, and forgotten")
        if fence is not None and old is not None:
            require(fence == old.attempt, f"I3: a worker of attempt {fence} wrote to attempt {old.attempt}")
        if new.state is State.LOST and old is not None and old.state is State.RUNNING:
            silent_s = (new.ended_at or 0.0) - (old.beat_at or 0.0)
            require(silent_s >= LEASE_S - 0.001, f"I8: a task was lost {silent_s:.0f} s after its worker was heard")
        if new.ended:
            require(key not in self.ends, "I2: an attempt ended twice")
            self.ends[key] = new
            self.events[f"ended {new.state}"] += 1
        self.events["a third attempt"] += new.attempt == 3 and key not in self.attempts
        self.attempts.add(key)

    def taken_back(self, lost: Snapshot, *, by_attempt: int) -> None:
        """The worker of `by_attempt` continues the lost attempt under the next number."""
        require(by_attempt == lost.attempt, f"I3: a worker of attempt {by_attempt} took back attempt {lost.attempt}")
        self.took_back.add((lost.id, lost.attempt))
        reported = self.reported.get((lost.id, lost.attempt), 0.0)
        self.reported[lost.id, lost.attempt + 1] = reported
        self.events["taken back"] += 1

    def refused(self, row: Snapshot, report: Snapshot) -> None:
        """The store refused what the worker of an attempt wrote."""
        is_presumed = row.state is State.LOST and row.attempt == report.attempt
        require(not is_presumed, "I10: a living worker's attempt is lost for good, although no newer one began")

    def executed(self, old: Snapshot) -> None:
        """A worker begins to run the task, whose row was `old`."""
        is_final = old.state in (State.SUCCEEDED, State.CANCELLED)
        require(not is_final, f"I9: a delivery ran a task that was {old.state}")

    def reported_by_worker(self, snapshot: Snapshot) -> None:
        """The worker of an attempt reports its progress."""
        key = (snapshot.id, snapshot.attempt)
        self.reported[key] = max(self.reported.get(key, 0.0), snapshot.progress.fraction or 0.0)

    def shown(self, snapshot: Snapshot, before: Order | None) -> None:
        """A page shows `snapshot`, after one with the order `before`."""
        if (snapshot.id, snapshot.order) in self.forged:
            self.events["a forged snapshot was shown"] += 1
            return
        key = (snapshot.id, snapshot.attempt)
        require(key in self.attempts, f"I1: attempt {snapshot.attempt} was shown, and never committed")
        if snapshot.ended:
            end = self.ends.get(key)
            is_committed = end is not None and end.state is snapshot.state
            require(is_committed, f"I1: {snapshot.state} was shown, and not committed")
        else:
            fraction = snapshot.progress.fraction or 0.0
            require(fraction <= self.reported.get(key, 0.0), f"I1: {fraction:.0%} was shown, and never reported")
        require(before is None or snapshot.order >= before, f"I4: a page went from {before} back to {snapshot.order}")
        # After an end, its attempt must not be shown as running, even if the order says so.
        went_on = before is not None and before[1] and before[0] == snapshot.attempt and not snapshot.ended
        require(not went_on, "I4: a page showed an end, and then the same attempt running")

    def corrected(self, task: str, before: Order | None) -> None:
        """A page is told to forget its snapshot of `task`, of the order `before`, because the store denies one."""
        require(any(id == task for id, _order in self.forged), "I4: a page was corrected, and nothing was forged")
        self.events["a forged snapshot was taken back"] += (task, before) in self.forged

    def notice_shown(self, notice: str) -> None:
        """A page shows a notice."""
        require(notice not in self.shown_notices, "N: a notice was shown twice")
        self.shown_notices.add(notice)
