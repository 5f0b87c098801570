"""One attempt, as the process that runs it knows it: what its task says, what was told of it, what was saved.

Arithmetic only: whoever calls gives the time (the store's clock) and does the writing. The task's thread
ends it while the reporter looks at it, so a lock decides what was the last that could be told.
"""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from telltale import native
from telltale.core.estimate import Pace
from telltale.core.snapshot import REASON_BYTES, SHORT_BYTES, Progress, Snapshot, bounded
from telltale.store import Claim, Refusal, Report, Saved
from telltale.worker.tracker import Tracker

Said = tuple[Progress, str | None, str | None, bool]
"""What a tracker says: progress, label, why it can't be cancelled, whether that was asked for."""


class Attempt:
    """A run of a task, from its claim to its end; `claim` is None while the store can't be reached for one."""

    def __init__(self, ask: Callable[[], Claim | Refusal] | None) -> None:
        """`ask` claims it from the store, and is called until the store has answered; None: nobody knows the task."""
        self.ask = ask
        self.refused = ask is None
        """It may not be claimed, so nothing is told of it."""
        self.asking = native.lock()
        """Held while it is claimed, which the task's thread and the saver's may both want to do."""
        self.tracker = Tracker()
        self.claim: Claim | None = None
        self.over = False
        """It has ended, or another owns the task: nothing more is told or saved of it."""
        self._lock = native.lock()
        self._seq = 0
        self._said = self._sample()
        self._told: Snapshot | None = None
        self._saved: tuple[int, float] = (0, 0.0)  # seq, when
        self._pace = Pace()

    @property
    def id(self) -> UUID | None:
        """The task's; None while it is not claimed."""
        return self.claim.id if self.claim else None

    def begin(self, claim: Claim, *, save_every_s: float) -> None:
        """The right to run it was given."""
        self._seq = claim.seq
        # The claim was a write by itself, and so may the runner's id have been. The first save comes one
        # turn late for them: so the bound (3 writes, and one each `save_every_s`) holds at every moment.
        self._saved = (claim.seq, (claim.snapshot.started_at or 0.0) + save_every_s)
        self.claim = claim
        if claim.cancel_requested:
            self.tracker.request_cancel()

    def look(self, *, now: float, beat_s: float) -> Snapshot | None:
        """What is to be told at `now`; None if nothing has changed and its last sign of life is recent enough."""
        with self._lock:
            if self.claim is None or self.over:
                return None
            if self._told is None:
                self._told = self.claim.snapshot
                return self._told
            said = self._sample()
            if said == self._said and now - (self._told.beat_at or 0.0) < beat_s:
                return None
            self._told = self._next(said, now)
            return self._told

    def _sample(self) -> Said:
        tracker = self.tracker
        label = None if tracker.label is None else bounded(str(tracker.label), SHORT_BYTES)
        no_cancel = None if tracker.no_cancel is None else bounded(tracker.no_cancel, REASON_BYTES)
        return (tracker.sample(), label, no_cancel, tracker.cancel_requested)

    def _next(self, said: Said, now: float) -> Snapshot:
        assert self._told is not None  # noqa: S101 (narrows the type: `look` saw to it)
        progress, label, no_cancel, cancel_requested = said
        moved = progress != self._said[0]
        self._pace.feed(progress.fraction, now=now)
        self._said = said
        self._seq += 1
        return replace(
            self._told,
            seq=self._seq,
            progress=progress,
            label=self._told.label if label is None else label,
            no_cancel=no_cancel,
            cancel_requested=cancel_requested,
            remaining_s=self._pace.remaining_s(now=now),
            moved_at=now if moved else self._told.moved_at,
            beat_at=now,
        )

    def report(self, *, now: float, save_every_s: float) -> Report | None:
        """What is to be saved at `now`: the newest that was told, unless it is saved or the last save is too recent."""
        with self._lock:
            seq, saved_at = self._saved
            if self.claim is None or self.over or self._told is None:
                return None
            if self._told.seq <= seq or now - saved_at < save_every_s:
                return None
            told, said = self._told, self._said
        return Report(
            id=self.claim.id,
            attempt=self.claim.attempt,
            seq=told.seq,
            progress=told.progress,
            moved_at=told.moved_at,
            remaining_s=told.remaining_s,
            no_cancel=told.no_cancel,
            label=said[1],
        )

    def saved(self, report: Report, verdict: Saved, *, now: float) -> None:
        """What the store said to a report."""
        with self._lock:
            self._saved = (report.seq, now)
            self._seq = max(self._seq, verdict.seq)
            self.over = self.over or verdict.fenced or verdict.unknown
        if verdict.cancel_requested:
            self.tracker.request_cancel()

    def finish(self) -> tuple[int, Progress]:
        """The last words: a `seq` above all that was told, and the progress. From here on it is over."""
        with self._lock:
            self.over = True
            return self._seq + 1, self.tracker.sample()
