"""The judge: sees every commit and everything that is shown, and raises `Broken` where a promise is broken.

It knows no mechanism, so that taking one away can't blind it. The invariants are numbered as in the guarantees:
I1 nothing shown that was not committed, I2 one end an attempt and no write after it, I3 no write by a fenced
worker, I4 no page goes backwards, I5–I7 all pages agree with the store in the end, I8 nothing runs for ever and
nothing is lost while its worker is heard of, I9 what was cancelled before it ran never runs, and cancelling is
heard. Beside them: a notice is shown once (N), and nobody sees what is not theirs (P).
"""

from collections import Counter

from telltale.core.snapshot import Order, Snapshot
from telltale.core.states import MOVES, State

LEASE_S = 105.0


class Broken(AssertionError):
    """A promise was not kept."""


def need(kept: bool, promise: str) -> None:
    """Raise `Broken` unless it was kept."""
    if not kept:
        raise Broken(promise)


class Ledger:
    """All that was committed, reported and shown in one history."""

    def __init__(self) -> None:
        self.attempts: set[tuple[str, int]] = set()
        self.ends: dict[tuple[str, int], Snapshot] = {}
        self.reported: dict[tuple[str, int], float] = {}
        self.shown_notices: set[str] = set()
        self.happened: Counter[str] = Counter()
        """What this history had in it: says whether histories reach what they are to try."""

    def committed(self, old: Snapshot | None, new: Snapshot, *, fence: int | None) -> None:
        """A row went from `old` to `new`; `fence` is the attempt that its writer believes in."""
        key = (new.id, new.attempt)
        if old is not None and old.attempt == new.attempt:
            need(not old.ended, f"I2: attempt {old.attempt} ended {old.state}, and was written again as {new.state}")
            need(new.state is old.state or new.state in MOVES[old.state], f"I2: {old.state} became {new.state}")
            need(new.seq >= old.seq, f"I4: the row went from seq {old.seq} back to {new.seq}")
        if fence is not None and old is not None:
            need(fence == old.attempt, f"I3: a worker of attempt {fence} wrote to attempt {old.attempt}")
        if new.state is State.LOST and old is not None and old.state is State.RUNNING:
            silent_s = (new.ended_at or 0.0) - (old.beat_at or 0.0)
            need(silent_s >= LEASE_S - 0.001, f"I8: a task was lost {silent_s:.0f} s after its worker was heard of")
        if new.ended:
            need(key not in self.ends, "I2: an attempt ended twice")
            self.ends[key] = new
            self.happened[f"ended {new.state}"] += 1
        self.happened["a third attempt"] += new.attempt == 3 and key not in self.attempts
        self.attempts.add(key)

    def executed(self, old: Snapshot) -> None:
        """A worker begins to run what stands as `old`."""
        final = old.state in (State.SUCCEEDED, State.CANCELLED)
        need(not final, f"I9: a delivery ran a task that was {old.state}")

    def reports(self, snapshot: Snapshot) -> None:
        """The worker of an attempt says how far it is."""
        key = (snapshot.id, snapshot.attempt)
        self.reported[key] = max(self.reported.get(key, 0.0), snapshot.progress.fraction or 0.0)

    def shown(self, snapshot: Snapshot, before: Order | None) -> None:
        """A page that showed `before` shows `snapshot`."""
        key = (snapshot.id, snapshot.attempt)
        need(key in self.attempts, f"I1: attempt {snapshot.attempt} was shown, and never committed")
        if snapshot.ended:
            end = self.ends.get(key)
            need(end is not None and end.state is snapshot.state, f"I1: {snapshot.state} was shown, and not committed")
        else:
            fraction = snapshot.progress.fraction or 0.0
            need(fraction <= self.reported.get(key, 0.0), f"I1: {fraction:.0%} was shown, and never reported")
        need(before is None or snapshot.order >= before, f"I4: a page went from {before} back to {snapshot.order}")
        # An end of the same attempt is absorbing in everybody's eyes, whatever the order says.
        went_on = before is not None and before[1] and before[0] == snapshot.attempt and not snapshot.ended
        need(not went_on, "I4: a page showed an end, and then the same attempt running")

    def notice_shown(self, notice: str) -> None:
        """A page shows a notice."""
        need(notice not in self.shown_notices, "N: a notice was shown twice")
        self.shown_notices.add(notice)
