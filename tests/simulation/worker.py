"""A worker process: runs what is delivered and reports as the real reporter does; can be killed, stopped, woken."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import State
from telltale.core.topics import task_topic
from telltale.core.wire import Envelope
from tests.simulation.ledger import Ledger
from tests.simulation.luck import Luck
from tests.simulation.sabotage import Sabotage, Sabotages
from tests.simulation.store import BEAT_S, Away, Store

PUBLISH_EVERY_S = 0.1
SAVE_EVERY_S = 2.0

Publish = Callable[[Iterable[Envelope], Luck], None]


class Crashed(Exception):
    """The process was killed between two instructions."""


@dataclass(eq=False, slots=True)
class Run:
    """One attempt in this process, and what its reporter knows of it."""

    snapshot: Snapshot
    topics: tuple[str, ...]
    fraction: float = 0.0
    """The tracker's attribute: what the task itself has set."""
    published: float = 0.0
    saved: float = 0.0
    published_at: float = float("-inf")
    saved_at: float = float("-inf")
    ends: State | None = None
    """It is over, and the store does not know yet."""


class Worker:
    """Named for the log. `crash_chance` is that of a crash at each of the two places of every write."""

    def __init__(
        self, name: str, store: Store, ledger: Ledger, publish: Publish, sabotage: Sabotages, crash_chance: float
    ) -> None:
        self.name = name
        self.up = True
        self.stopped = False
        self.runs: list[Run] = []
        self._store, self._ledger, self._publish = store, ledger, publish
        self._sabotage = sabotage
        self.crash_chance = crash_chance

    @property
    def works(self) -> bool:
        """Whether it does anything now."""
        return self.up and not self.stopped

    def takes(self, task: str, owner: str, now: float, luck: Luck) -> bool:
        """A delivery arrives. False: the store is away, the runner keeps it."""
        try:
            self._may_crash(luck)
            claimed = self._store.claim(task, now)
        except Away:
            return False
        if claimed is not None:
            self._may_crash(luck)
            run = Run(claimed, (task_topic(task), owner), saved_at=now)
            self.runs.append(run)
            self._tell(run, now, luck)
        return True

    def moves(self, run: Run, now: float, luck: Luck) -> None:
        """The task gets on, or finds that it is to stop."""
        if run.ends is not None:
            return
        if run.snapshot.cancel_requested:
            return self.finishes(run, State.CANCELLED, now, luck)
        run.fraction = min(0.99, run.fraction + luck.between(0.01, 0.2))
        if now >= run.published_at + PUBLISH_EVERY_S:
            self._report(run, now, luck)

    def finishes(self, run: Run, state: State, now: float, luck: Luck) -> None:
        """The task is over: one conditional write, then the news. Tried again while the store is away."""
        run.ends = state
        if state is State.SUCCEEDED:
            run.fraction = 1.0
        report = replace(run.snapshot, progress=Progress(fraction=run.fraction))
        self._ledger.reports(report)
        if Sabotage.PUBLISH_FIRST in self._sabotage:
            early = replace(report, state=state, seq=report.seq + 1, ended_at=now)
            self._publish([Envelope(topics=run.topics, snapshot=early)], luck)
        self._may_crash(luck)
        try:
            if state is State.RETRYING:
                news = self._store.retrying(report, now, now + 5)
            else:
                news = self._store.end(report, state, now)
        except Away:
            return
        self.runs.remove(run)
        self._ledger.happened["an end fenced"] += not news
        self._may_crash(luck)
        if Sabotage.NOTICE_APART in self._sabotage and news and state is not State.RETRYING:
            news += self._store.tell(report.id, later=True)
        self._publish(news, luck)

    def tick(self, now: float, luck: Luck) -> None:
        """The reporter's turn: the trailing value, the beat, and ends that could not be written yet."""
        for run in list(self.runs):
            if run.ends is not None:
                self.finishes(run, run.ends, now, luck)
            elif now >= run.saved_at + BEAT_S:
                self._save(run, now, luck)
            elif Sabotage.NO_TRAILING_REPORT not in self._sabotage:
                if run.saved != run.fraction and now >= run.saved_at + SAVE_EVERY_S:
                    self._save(run, now, luck)
                elif run.published != run.fraction and now >= run.published_at + PUBLISH_EVERY_S:
                    self._report(run, now, luck)

    def _report(self, run: Run, now: float, luck: Luck) -> None:
        """Leading edge: published now, saved at its own pace."""
        self._sample(run, now)
        if now >= run.saved_at + SAVE_EVERY_S:
            return self._save(run, now, luck)
        self._tell(run, now, luck)

    def _save(self, run: Run, now: float, luck: Luck) -> None:
        if Sabotage.NO_TRAILING_REPORT not in self._sabotage or run.saved == run.fraction:
            self._sample(run, now)
        run.snapshot = replace(run.snapshot, seq=run.snapshot.seq + 1, beat_at=now)
        self._may_crash(luck)
        try:
            verdict = self._store.save(run.snapshot, now)
        except Away:
            return
        if verdict is None:
            self._ledger.happened["a worker fenced"] += 1
            # The task may go on, but nobody is told of it any more.
            self.runs.remove(run)
            return
        self._may_crash(luck)
        run.saved_at, run.saved = now, run.snapshot.progress.fraction or 0.0
        heard = verdict.cancel_requested and Sabotage.CANCEL_UNHEARD not in self._sabotage
        news = heard and not run.snapshot.cancel_requested
        run.snapshot = replace(run.snapshot, seq=verdict.seq, cancel_requested=heard)
        self._tell(run, now, luck)
        if news:
            # What was saved did not know of the wish yet.
            run.saved_at = float("-inf")

    def _sample(self, run: Run, now: float) -> None:
        progress = Progress(fraction=run.fraction)
        run.snapshot = replace(run.snapshot, seq=run.snapshot.seq + 1, progress=progress, moved_at=now, beat_at=now)
        self._ledger.reports(run.snapshot)

    def _tell(self, run: Run, now: float, luck: Luck) -> None:
        run.published, run.published_at = run.snapshot.progress.fraction or 0.0, now
        self._publish([Envelope(topics=run.topics, snapshot=run.snapshot)], luck)

    def _may_crash(self, luck: Luck) -> None:
        if self.crash_chance and luck.happens(self.crash_chance):
            raise Crashed
