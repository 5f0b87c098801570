"""One attempt of a task, in the process that runs it: its claim, what was published of it, what was saved of it.

`try_claim` asks the store. Everything else is arithmetic: the callers give the time (by the store's clock), publish
and save. The task's thread ends an attempt while the reporter's thread reads it, so a lock decides which snapshot is
the last. A process may have ten thousand attempts, few of which change: finding nothing to do takes no lock.
"""

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple
from uuid import UUID

from telltale import conf, native, store
from telltale.core.estimate import Pace
from telltale.core.snapshot import REASON_BYTES, SHORT_BYTES, Progress, Snapshot, bounded
from telltale.store import Changed, Claim, Refusal, Report, Saved
from telltale.worker.counts import counts
from telltale.worker.tracker import RawValues, Tracker
from telltale.worker.unusable_figures import log_unusable_figures

logger = logging.getLogger(__name__)


def worker_name(pid: int) -> str:
    """The name under which the process `pid` of this machine claims attempts."""
    return f"{socket.gethostname()}:{pid}"


class Sample(NamedTuple):
    """What the tracker says at one moment, converted and bounded."""

    progress: Progress = Progress()
    label: str | None = None
    no_cancel: str | None = None
    cancel_requested: bool = False


class Attempt:
    """A run of a task, from its claim to its end."""

    __slots__ = (
        "_at_most_once",
        "_changed_seq",
        "_claim_lock",
        "_create_row",
        "_early_save_counts_at",
        "_has_logged",
        "_lock",
        "_name",
        "_pace",
        "_published",
        "_published_at",
        "_raw_values",
        "_runner",
        "_runner_id",
        "_sample",
        "_seq",
        "_task_id",
        "claim",
        "is_outside",
        "is_over",
        "is_refused",
        "saved_at",
        "saved_seq",
        "topics",
        "tracker",
    )

    def __init__(
        self,
        *,
        task_id: UUID | None = None,
        runner: str | None = None,
        runner_id: str | None = None,
        name: str | None = None,
        create_row: Callable[[], object] | None = None,
        at_most_once: bool = False,
    ) -> None:
        """The task is found by its id, or by `runner` and `runner_id`. Without either, the attempt can't be claimed.

        `name`: the task's name by its message.
        `create_row` is called if the task has no row yet. `at_most_once`: a task that is not queued refuses the run.
        """
        self._task_id = task_id
        self._runner = runner
        self._runner_id = runner_id
        self._name = name
        self._create_row = create_row
        self._at_most_once = at_most_once
        self._claim_lock = native.lock()
        """Held by `try_claim`, which the task's thread and the saver's thread may call at the same time."""
        self.claim: Claim | None = None
        """None until the store has granted it, such as while the database is unavailable."""
        self.is_refused = task_id is None and runner_id is None
        """Whether it can't be claimed, so nothing is published or saved."""
        self.is_outside = False
        """Whether it is claimed and ended outside the transaction in which it runs; see `outside.py`."""
        self.is_over = False
        """Whether it has ended, or another attempt owns the task: nothing more is published or saved."""
        self.tracker = Tracker()
        self.tracker.is_in_worker = runner is not None
        self.topics: tuple[str, ...] = ()
        """Where its snapshots are published: the claim's topics, and the user's once the owner has signed in."""
        self.saved_seq = 0
        self.saved_at = 0.0
        """When it was saved, from which the next save is timed."""
        self._early_save_counts_at = 0.0
        self._lock = native.lock()
        self._seq = 0
        self._raw_values: RawValues | None = None
        """The tracker's values from which `_sample` was made."""
        self._sample = Sample()
        self._published: Snapshot | None = None
        self._published_at = 0.0
        self._changed_seq = 0
        """The `seq` of the newest published snapshot that was more than a heartbeat."""
        self._pace = Pace()
        self._has_logged = False

    @property
    def row_key(self) -> tuple[UUID | None, str | None, str | None]:
        """What names the row: the task's id, or its runner and its runner's id."""
        return self.claim.id if self.claim else self._task_id, self._runner, self._runner_id

    @property
    def id(self) -> UUID | None:
        """The task's id; None while the attempt is not claimed."""
        return self.claim.id if self.claim else None

    # Claiming

    def try_claim(self, *, must_exist: bool = False) -> Refusal | None:
        """Ask the store for the right to run, unless it has answered before. Returns its refusal, else None.

        `must_exist`: if there is no row, none is created, and the store can be asked again. Raises `django.db.Error`
        while the database is unavailable; then it may be called again.
        """
        with self._claim_lock:
            if self.claim is not None or self.is_refused:
                return None
            answer = self._ask_store(creates_row=not must_exist)
            if isinstance(answer, Refusal):
                if must_exist and answer.state is None:
                    return None
                self.is_refused = True
                return answer
            self.begin(answer, save_every_s=conf.settings().save_every_s)
            return None

    def row_exists(self) -> bool:
        """Whether this thread's connection finds the row."""
        rows = store.task_rows()
        by_runner = {"runner": self._runner, "runner_id": self._runner_id}
        return (rows.filter(pk=self._task_id) if self._task_id else rows.filter(**by_runner)).exists()

    def _ask_store(self, *, creates_row: bool) -> Claim | Refusal:
        claim = partial(
            store.claim,
            task_id=self._task_id,
            runner=self._runner,
            runner_id=self._runner_id,
            name=self._name,
            worker=worker_name(os.getpid()),
            at_most_once=self._at_most_once,
        )
        answer = claim()
        is_unknown = isinstance(answer, Refusal) and answer.state is None
        if is_unknown and creates_row and self._create_row is not None:
            # A call in an open transaction may have sent the message, and may yet write or roll back the row.
            with store.limited_lock_waits():
                self._create_row()
            answer = claim()
        return answer

    def take_back(self, lost: Claim, *, is_ending: bool = False) -> Changed | None:
        """Continue the attempt, which a reader presumed lost under the claim `lost`; `claim` is then its new claim.

        Returns what to publish; None if another thread was faster, or a newer attempt began. `is_ending`: as in
        `store.take_back`.
        """
        with self._claim_lock:
            if self.claim is not lost:
                return None
            taken_back = store.take_back(lost, is_ending=is_ending)
            if taken_back is None:
                return None
            claim, changed = taken_back
            with self._lock:
                # The next reading publishes a heartbeat of the new claim, which is saved as a whole report.
                self._hold(claim)
                self._changed_seq, self._published, self._published_at = claim.seq + 1, claim.snapshot, 0.0
            counts()["taken back"] += 1
            logger.warning("Task %s was presumed lost, and goes on: its worker could not save for a while.", claim.id)
            return changed

    def begin(self, claim: Claim, *, save_every_s: float) -> None:
        """Begin to run under `claim`."""
        # A page that polls shows only what is saved, so the first save comes after half a period. It stands in for the
        # one that would be due after two periods: from then on the bound of writes (3, and one more each
        # `save_every_s`) is as if there had been no early save.
        started_at = claim.snapshot.started_at or 0.0
        self.saved_at = started_at - save_every_s / 2
        self._early_save_counts_at = started_at + 2 * save_every_s
        self._pace = Pace(claim.snapshot.usual_s)
        self._hold(claim)
        counts()["begun"] += 1
        if claim.cancel_requested:
            self.tracker.request_cancel()

    def _hold(self, claim: Claim) -> None:
        """Run under `claim`. It is set last, because other threads read it without the lock."""
        self._seq = self.saved_seq = claim.seq
        self.topics = claim.topics
        self.tracker.run = (str(claim.id), claim.snapshot.name, claim.attempt)
        self.claim = claim

    # Publishing

    @property
    def published(self) -> Snapshot | None:
        """The newest published snapshot; None if nothing was published, or the attempt is over."""
        return None if self.is_over else self._published

    def next_snapshot(self, *, now: float, beat_s: float) -> Snapshot | None:
        """The snapshot to publish at `now`; None if nothing has changed and the last one is less than `beat_s` old."""
        try:
            if self.tracker.raw_values() == self._raw_values and not self._is_beat_due(now, beat_s):
                return None
        except Exception:  # noqa: S110 (a task may set objects that can't be compared: then they are converted instead)
            pass
        with self._lock:
            if self.claim is None or self.is_over:
                return None
            if self._published is None:
                self._published, self._published_at = self.claim.snapshot, self.claim.snapshot.beat_at or 0.0
                return self._published
            sample = self._read_tracker()
            if sample == self._sample and not self._is_beat_due(now, beat_s):
                return None
            self._published, self._published_at = self._advance(self._published, sample, now), now
            return self._published

    def _read_tracker(self) -> Sample:
        """What the tracker says now. If that can't be converted: the last sample, so that heartbeats go on."""
        try:
            raw_values, progress = self.tracker.read()
            *_progress_values, label, no_cancel, cancel_requested = raw_values
            sample = Sample(
                progress=progress,
                label=None if label is None else bounded(str(label), SHORT_BYTES),
                no_cancel=None if no_cancel is None else bounded(no_cancel, REASON_BYTES),
                cancel_requested=cancel_requested,
            )
        except Exception:
            self.log_once("Its progress can't be read")
            return self._sample
        self._raw_values = raw_values
        if self.claim is not None:
            log_unusable_figures(self.claim.snapshot.name, raw_values)
        return sample

    def _advance(self, last: Snapshot, sample: Sample, now: float) -> Snapshot:
        """The snapshot after `last`."""
        has_moved = sample.progress != self._sample.progress
        self._pace.add(sample.progress.fraction, now=now)
        remaining_s = self._pace.remaining_s(now=now)
        self._seq += 1
        # A row whose `beat_at` is newer than its time left would tell too much time.
        if sample != self._sample or remaining_s != last.remaining_s:
            self._changed_seq, self._sample = self._seq, sample
        return replace(
            last,
            seq=self._seq,
            progress=sample.progress,
            label=last.label if sample.label is None else sample.label,
            no_cancel=sample.no_cancel,
            cancel_requested=sample.cancel_requested,
            remaining_s=remaining_s,
            remaining_spread=self._pace.spread,
            moved_at=now if has_moved else last.moved_at,
            beat_at=now,
        )

    def log_once(self, problem: str) -> None:
        """Log the current exception, once for each attempt: an error in one reading repeats in the next."""
        if not self._has_logged:
            self._has_logged = True
            logger.exception("Task %s: %s. It goes on, and so do all others.", self.id, problem)

    def _is_beat_due(self, now: float, beat_s: float) -> bool:
        # Also if the clock was put back: the last one seems to be in the future.
        return not 0.0 <= now - self._published_at < beat_s

    # Saving

    def is_save_due(self, *, now: float, save_every_s: float) -> bool:
        """Whether to save at `now`: a snapshot was published after the last save, which is old enough."""
        return (
            self._published is not None
            and self._published.seq > self.saved_seq
            and not self._is_saved_lately(now, save_every_s)
            and self.claim is not None
            and not self.is_over
        )

    def _is_saved_lately(self, now: float, save_every_s: float) -> bool:
        # An early save counts at most two periods ahead: if it seems to be later, the clock was put back.
        return -2 * save_every_s <= now - self.saved_at < save_every_s

    def report(self) -> Report | None:
        """The newest published snapshot as the store saves it; None if the attempt is over or nothing was published."""
        with self._lock:
            if self.claim is None or self.is_over or self._published is None:
                return None
            published, label = self._published, self._sample.label
            # Only one heartbeat since the last save: the store then adds 1 to the row's `seq`, which gives this `seq`.
            is_beat = self._changed_seq <= self.saved_seq == published.seq - 1
        return Report(
            id=self.claim.id,
            attempt=self.claim.attempt,
            seq=published.seq,
            progress=published.progress,
            moved_at=published.moved_at,
            remaining_s=published.remaining_s,
            remaining_spread=published.remaining_spread,
            no_cancel=published.no_cancel,
            label=label,
            stage_times=self.tracker.stage_times() or None,
            is_beat=is_beat,
        )

    def record_save(self, report: Report, outcome: Saved, *, now: float) -> None:
        """Take note of the store's answer to `report`."""
        with self._lock:
            self.saved_seq, self.saved_at = report.seq, max(now, self._early_save_counts_at)
            self._early_save_counts_at = 0.0  # Only the first save is early.
            self._seq = max(self._seq, outcome.seq)
            self.is_over = self.is_over or outcome.fenced or outcome.unknown
            self.topics = outcome.topics or self.topics
        if outcome.cancel_requested:
            self.tracker.request_cancel()

    # The end

    def finish(self) -> tuple[int, Progress]:
        """End the attempt; returns a `seq` above that of all its snapshots, and its last progress."""
        with self._lock:
            self.is_over = True
            return self._seq + 1, self._read_tracker().progress
