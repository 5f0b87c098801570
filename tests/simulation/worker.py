"""A worker process: runs deliveries and reports as the real reporter does; it can be killed, stopped and continued."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import State
from telltale.core.topics import task_topic
from telltale.core.wire import Envelope
from tests.simulation.ledger import Ledger
from tests.simulation.rng import Rng
from tests.simulation.sabotage import Sabotage, Sabotages
from tests.simulation.store import BEAT_S, DatabaseDown, Store

PUBLISH_EVERY_S = 0.1
SAVE_EVERY_S = 2.0

Publish = Callable[[Iterable[Envelope], Rng], None]


class Crashed(Exception):
    """The process was killed between two instructions."""


@dataclass(eq=False, slots=True)
class Run:
    """One attempt in this process, with the state of its reporter."""

    snapshot: Snapshot
    topics: tuple[str, ...]
    fraction: float = 0.0
    """The tracker's attribute: the value that the task has set."""
    published: float = 0.0
    saved: float = 0.0
    published_at: float = float("-inf")
    saved_at: float = float("-inf")
    ends: State | None = None
    """The end that is to be written; None while it runs."""
    is_answered: bool = False
    """Whether the store has taken its end, or refused it."""


class Worker:
    """`name`: for the log. `crash_chance`: the probability of a crash before and after every write."""

    def __init__(
        self, name: str, store: Store, ledger: Ledger, publish: Publish, sabotage: Sabotages, crash_chance: float
    ) -> None:
        self.name = name
        self.up = True
        self.stopped = False
        self.runs: list[Run] = []
        self.finished: list[Run] = []
        """The runs whose work is done in this process."""
        self._store, self._ledger, self._publish = store, ledger, publish
        self._sabotage = sabotage
        self.crash_chance = crash_chance

    @property
    def works(self) -> bool:
        """Whether it runs now: it is neither dead nor stopped."""
        return self.up and not self.stopped

    def take(self, task: str, owner: str, now: float, rng: Rng) -> bool:
        """Take a delivery; False if the database is down, then the runner keeps it."""
        try:
            self._may_crash(rng)
            claimed = self._store.claim(task, now)
        except DatabaseDown:
            return False
        if claimed is not None:
            self._may_crash(rng)
            run = Run(claimed, (task_topic(task), owner), saved_at=now)
            self.runs.append(run)
            self._publish_snapshot(run, now, rng)
        return True

    def advance(self, run: Run, now: float, rng: Rng) -> None:
        """The task makes progress, or stops if its cancellation was requested."""
        if run.ends is not None:
            return
        if run.snapshot.cancel_requested:
            return self.finish(run, State.CANCELLED, now, rng)
        run.fraction = min(0.99, run.fraction + rng.between(0.01, 0.2))
        if now >= run.published_at + PUBLISH_EVERY_S:
            self._report(run, now, rng)

    def finish(self, run: Run, state: State, now: float, rng: Rng) -> None:
        """Write the end, then publish it; `tick` tries again if the database is down."""
        if run.ends is None:
            self.finished.append(run)
        run.ends = state
        if state is State.SUCCEEDED:
            run.fraction = 1.0
        report = replace(run.snapshot, progress=Progress(fraction=run.fraction))
        self._ledger.reported_by_worker(report)
        if Sabotage.PUBLISH_FIRST in self._sabotage:
            early = replace(report, state=state, seq=report.seq + 1, ended_at=now)
            self._publish([Envelope(topics=run.topics, snapshot=early)], rng)
        self._may_crash(rng)
        try:
            if state is State.RETRYING:
                envelopes = self._store.retrying(report, now, now + 5)
            else:
                envelopes = self._store.end(report, state, now)
        except DatabaseDown:
            if Sabotage.END_NOT_REPEATED in self._sabotage:
                self.runs.remove(run)
            return
        run.is_answered = True
        if envelopes and self.crash_chance and rng.happens(0.1):
            return  # The connection broke before the answer came, so the end is written again.
        self.runs.remove(run)
        if not envelopes:
            self._ledger.events["an end fenced"] += 1
            self._ledger.refused(self._store.rows[report.id], report)
        self._may_crash(rng)
        if Sabotage.NOTICE_APART in self._sabotage and envelopes and state is not State.RETRYING:
            envelopes += self._store.add_notice(report.id, later=True)
        self._publish(envelopes, rng)

    def tick(self, now: float, rng: Rng) -> None:
        """Run the reporter once: the last value, the beat, and ends that could not be written."""
        for run in list(self.runs):
            if run.ends is not None:
                self.finish(run, run.ends, now, rng)
            elif now >= run.saved_at + BEAT_S:
                self._save(run, now, rng)
            elif Sabotage.NO_TRAILING_REPORT not in self._sabotage:
                if run.saved != run.fraction and now >= run.saved_at + SAVE_EVERY_S:
                    self._save(run, now, rng)
                elif run.published != run.fraction and now >= run.published_at + PUBLISH_EVERY_S:
                    self._report(run, now, rng)

    def _report(self, run: Run, now: float, rng: Rng) -> None:
        """Publish the progress at once; save it less often."""
        self._sample(run, now)
        if now >= run.saved_at + SAVE_EVERY_S:
            return self._save(run, now, rng)
        self._publish_snapshot(run, now, rng)

    def _save(self, run: Run, now: float, rng: Rng) -> None:
        if Sabotage.NO_TRAILING_REPORT not in self._sabotage or run.saved == run.fraction:
            self._sample(run, now)
        run.snapshot = replace(run.snapshot, seq=run.snapshot.seq + 1, beat_at=now)
        self._may_crash(rng)
        try:
            verdict = self._store.save(run.snapshot, now)
        except DatabaseDown:
            return
        if verdict is None:
            self._ledger.events["a worker fenced"] += 1
            self._ledger.refused(self._store.rows[run.snapshot.id], run.snapshot)
            # The task may go on, and its reports are not accepted any more.
            self.runs.remove(run)
            return
        self._may_crash(rng)
        run.saved_at, run.saved = now, run.snapshot.progress.fraction or 0.0
        is_cancelling = verdict.cancel_requested and Sabotage.CANCEL_UNHEARD not in self._sabotage
        has_changed = is_cancelling and not run.snapshot.cancel_requested
        run.snapshot = replace(run.snapshot, attempt=verdict.attempt, seq=verdict.seq, cancel_requested=is_cancelling)
        self._publish_snapshot(run, now, rng)
        if has_changed:
            # The snapshot that was saved did not have the request yet.
            run.saved_at = float("-inf")

    def _sample(self, run: Run, now: float) -> None:
        progress = Progress(fraction=run.fraction)
        run.snapshot = replace(run.snapshot, seq=run.snapshot.seq + 1, progress=progress, moved_at=now, beat_at=now)
        self._ledger.reported_by_worker(run.snapshot)

    def _publish_snapshot(self, run: Run, now: float, rng: Rng) -> None:
        run.published, run.published_at = run.snapshot.progress.fraction or 0.0, now
        self._publish([Envelope(topics=run.topics, snapshot=run.snapshot)], rng)

    def _may_crash(self, rng: Rng) -> None:
        if self.crash_chance and rng.happens(self.crash_chance):
            raise Crashed
