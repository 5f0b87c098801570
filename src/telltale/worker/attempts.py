"""One attempt, as the process that runs it knows it: what its task says, what was told of it, what was saved.

Arithmetic only: whoever calls gives the time (the store's clock) and does the writing. The task's thread
ends it while the reporter looks at it, so a lock decides what was the last that could be told. There may be
ten thousand of them in a process, few of which move: what finds that there is nothing to do takes no lock.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from telltale import native
from telltale.core.estimate import Pace
from telltale.core.snapshot import REASON_BYTES, SHORT_BYTES, Progress, Snapshot, bounded
from telltale.store import Claim, Refusal, Report, Saved
from telltale.worker.tracker import Marks, Tracker

logger = logging.getLogger(__name__)

Said = tuple[Progress, str | None, str | None, bool]
"""What a tracker says: progress, label, why it can't be cancelled, whether that was asked for."""


class Attempt:
    """A run of a task, from its claim to its end; `claim` is None while the store can't be reached for one."""

    __slots__ = (
        "_complained",
        "_lock",
        "_marks",
        "_new",
        "_pace",
        "_said",
        "_seq",
        "_told",
        "_told_at",
        "ask",
        "asking",
        "claim",
        "over",
        "refused",
        "saved_at",
        "saved_seq",
        "tracker",
    )

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
        self.saved_seq = 0
        self.saved_at = 0.0
        self._lock = native.lock()
        self._seq = 0
        self._marks: Marks | None = None
        """From which `_said` was read."""
        self._said: Said = (Progress(), None, None, False)
        self._told: Snapshot | None = None
        self._told_at = 0.0
        self._new = 0
        """The `seq` of the newest that was told and is more than a sign of life."""
        self._pace = Pace()
        self._complained = False

    @property
    def id(self) -> UUID | None:
        """The task's; None while it is not claimed."""
        return self.claim.id if self.claim else None

    def begin(self, claim: Claim, *, save_every_s: float) -> None:
        """The right to run it was given."""
        self._seq = claim.seq
        # The claim was a write by itself, and so may the runner's id have been. The first save comes one
        # turn late for them: so the bound (3 writes, and one each `save_every_s`) holds at every moment.
        self.saved_seq, self.saved_at = claim.seq, (claim.snapshot.started_at or 0.0) + save_every_s
        self.claim = claim
        if claim.cancel_requested:
            self.tracker.request_cancel()

    def look(self, *, now: float, beat_s: float) -> Snapshot | None:
        """What is to be told at `now`; None if nothing has changed and its last sign of life is recent enough."""
        try:
            if self.tracker.marks() == self._marks and now - self._told_at < beat_s:
                return None
        except Exception:  # noqa: S110 (what a task sets may be anything, and compare as it likes: it is read instead)
            pass
        with self._lock:
            if self.claim is None or self.over:
                return None
            if self._told is None:
                self._told, self._told_at = self.claim.snapshot, self.claim.snapshot.beat_at or 0.0
                return self._told
            said = self._sample()
            if said == self._said and now - self._told_at < beat_s:
                return None
            self._told, self._told_at = self._next(said, now), now
            return self._told

    def _sample(self) -> Said:
        """What it says now; what it said before, if that can't be read, so that it shows signs of life all the same."""
        try:
            marks, progress = self.tracker.read()
            *_attributes, label, no_cancel, cancel_requested = marks
            said = (
                progress,
                None if label is None else bounded(str(label), SHORT_BYTES),
                None if no_cancel is None else bounded(no_cancel, REASON_BYTES),
                cancel_requested,
            )
        except Exception:
            self.complain("What it says can't be told")
            return self._said
        self._marks = marks
        return said

    def complain(self, what: str) -> None:
        """Log the present exception, once an attempt: what fails at one look fails at the next."""
        if not self._complained:
            self._complained = True
            logger.exception("Task %s: %s. It goes on, and so do all others.", self.id, what)

    def _next(self, said: Said, now: float) -> Snapshot:
        assert self._told is not None  # noqa: S101 (narrows the type: `look` saw to it)
        progress, label, no_cancel, cancel_requested = said
        moved = progress != self._said[0]
        self._pace.feed(progress.fraction, now=now)
        self._seq += 1
        if said != self._said:
            self._new, self._said = self._seq, said
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

    def is_due(self, *, now: float, save_every_s: float) -> bool:
        """Whether something is to be saved at `now`: it was told since, and the last save is not too recent."""
        told = self._told
        return (
            told is not None
            and told.seq > self.saved_seq
            and now - self.saved_at >= save_every_s
            and self.claim is not None
            and not self.over
        )

    def report(self) -> Report | None:
        """The newest that was told, for the store; None once it is over."""
        with self._lock:
            if self.claim is None or self.over or self._told is None:
                return None
            told, said = self._told, self._said
            # One beat, and nothing else since the last save: then the row's `seq` counts on to just this one.
            is_beat = self._new <= self.saved_seq == told.seq - 1
        return Report(
            id=self.claim.id,
            attempt=self.claim.attempt,
            seq=told.seq,
            progress=told.progress,
            moved_at=told.moved_at,
            remaining_s=told.remaining_s,
            no_cancel=told.no_cancel,
            label=said[1],
            is_beat=is_beat,
        )

    def saved(self, report: Report, verdict: Saved, *, now: float) -> None:
        """What the store said to a report."""
        with self._lock:
            self.saved_seq, self.saved_at = report.seq, now
            self._seq = max(self._seq, verdict.seq)
            self.over = self.over or verdict.fenced or verdict.unknown
        if verdict.cancel_requested:
            self.tracker.request_cancel()

    def finish(self) -> tuple[int, Progress]:
        """The last words: a `seq` above all that was told, and the progress. From here on it is over."""
        with self._lock:
            self.over = True
            return self._seq + 1, self._sample()[0]
