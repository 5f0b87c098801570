"""The virtual store: what `telltale/store/` does by conditional UPDATEs, done with a dict through the same tables."""

from dataclasses import dataclass, replace
from itertools import count

from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import CLAIMABLE, RETRIABLE, State, sources
from telltale.core.topics import CANCELLATIONS, task_topic
from telltale.core.wire import Envelope, Notice
from tests.simulation.ledger import LEASE_S, Ledger
from tests.simulation.sabotage import Sabotage, Sabotages

BEAT_S = 10.0


class Away(Exception):
    """The database does not answer."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The verdict on a save that was accepted."""

    seq: int
    cancel_requested: bool


class Store:
    """Rows are snapshots beside their leases; every method is one transaction."""

    def __init__(self, ledger: Ledger, sabotage: Sabotages) -> None:
        self.rows: dict[str, Snapshot] = {}
        self.leases: dict[str, float | None] = {}
        self.owners: dict[str, str] = {}
        self.notices: dict[str, Notice] = {}
        self.shown: set[str] = set()
        self.away = False
        self._ledger = ledger
        self._sabotage = sabotage
        self._numbers = count(1)

    # What is asked for ---------------------------------------------------------------------------

    def queue(self, task: str, owner: str, now: float) -> list[Envelope]:
        """A new task."""
        self._answers()
        self.owners[task] = owner
        self._commit(None, Snapshot(id=task, attempt=1, seq=0, state=State.QUEUED, created_at=now), lease=None)
        return [self._envelope(task)]

    def requeue(self, task: str) -> list[Envelope]:
        """A person's retry."""
        self._answers()
        row = self.rows[task]
        if row.state not in RETRIABLE:
            return []
        fresh = Snapshot(id=task, attempt=row.attempt + 1, seq=0, state=State.QUEUED, created_at=row.created_at)
        self._commit(row, fresh, lease=None)
        return [self._envelope(task)]

    def request_cancel(self, task: str, now: float) -> list[Envelope]:
        """A person's wish: at once where nothing runs, else a flag that the worker finds."""
        self._answers()
        row = self.rows[task]
        if row.state in (State.QUEUED, State.RETRYING):
            return self._end(row, State.CANCELLED, row.seq + 1, row.progress, now, fence=None)
        if row.state is not State.RUNNING or row.cancel_requested:
            return []
        self._commit(row, replace(row, cancel_requested=True, seq=row.seq + 1), lease=self.leases[task])
        return [self._envelope(task), Envelope(topics=(CANCELLATIONS,), cancel=task)]

    # What workers write --------------------------------------------------------------------------

    def claim(self, task: str, now: float) -> Snapshot | None:
        """The attempt that a delivery may run; None: it may not."""
        self._answers()
        row = self.rows[task]
        if row.state not in CLAIMABLE and Sabotage.REDELIVERY_REOPENS not in self._sabotage:
            return None
        self._ledger.executed(row)
        first = row.state is State.QUEUED
        running = replace(
            row,
            attempt=row.attempt if first else row.attempt + 1,
            seq=row.seq + 1 if first else 0,
            state=State.RUNNING,
            progress=Progress(fraction=0.0),
            started_at=now,
            moved_at=now,
            beat_at=now,
            ended_at=None,
            due_at=None,
        )
        self._commit(row, running, lease=now + LEASE_S)
        return running

    def save(self, report: Snapshot, now: float) -> Saved | None:
        """Progress and a renewed lease; None: fenced."""
        self._answers()
        row = self._mine(report.id, report.attempt, {State.RUNNING})
        if row is None:
            return None
        cancel_requested = row.cancel_requested or report.cancel_requested
        seq = max(row.seq, report.seq)
        lease: float | None = now + LEASE_S
        if Sabotage.NO_RENEWAL in self._sabotage:
            lease = self.leases[report.id]
        saved = replace(report, attempt=row.attempt, seq=seq, cancel_requested=cancel_requested)
        self._commit(row, saved, lease=lease, fence=report.attempt)
        return Saved(seq, cancel_requested)

    def end(self, report: Snapshot, state: State, now: float) -> list[Envelope]:
        """The end of an attempt, with its notice; nothing: it had ended, or a newer attempt owns it."""
        self._answers()
        row = self._mine(report.id, report.attempt, sources(state))
        if row is None:
            return []
        seq = max(row.seq, report.seq) + 1
        return self._end(row, state, seq, report.progress, now, fence=report.attempt)

    def retrying(self, report: Snapshot, now: float, due_at: float) -> list[Envelope]:
        """It failed, and the runner will run it again; if it never does, the lease lapses."""
        self._answers()
        row = self._mine(report.id, report.attempt, sources(State.RETRYING))
        if row is None:
            return []
        seq = max(row.seq, report.seq) + 1
        if row.cancel_requested:
            return self._end(row, State.CANCELLED, seq, report.progress, now, fence=report.attempt)
        waiting = replace(report, attempt=row.attempt, seq=seq, state=State.RETRYING, due_at=due_at)
        self._commit(row, waiting, lease=due_at + LEASE_S, fence=report.attempt)
        return [self._envelope(report.id)]

    # What readers do -----------------------------------------------------------------------------

    def expire(self, now: float) -> list[Envelope]:
        """Lapsed leases become `lost`: every read does it."""
        if Sabotage.NO_EXPIRY in self._sabotage:
            return []
        news: list[Envelope] = []
        for task, lease in list(self.leases.items()):
            row = self.rows[task]
            if lease is not None and lease <= now and row.state in sources(State.LOST):
                news += self._end(row, State.LOST, row.seq + 1, row.progress, now, fence=None)
        return news

    def read(self, topics: frozenset[str]) -> list[Envelope]:
        """All that followers of `topics` should know: one query."""
        self._answers()
        found = [self._envelope(task) for task, owner in self.owners.items() if {owner, task_topic(task)} & topics]
        waiting = (n for n in self.notices.values() if n.topic in topics and n.id not in self.shown)
        return found + [Envelope(topics=(notice.topic,), notice=notice) for notice in waiting]

    def take_notice(self, notice: str) -> bool:
        """Whether the page that asks is the one to show it."""
        if notice in self.shown and Sabotage.NOTICE_TWICE not in self._sabotage:
            return False
        self.shown.add(notice)
        return True

    # Within --------------------------------------------------------------------------------------

    def _answers(self) -> None:
        if self.away:
            raise Away

    def _mine(self, task: str, attempt: int, states: set[State] | frozenset[State]) -> Snapshot | None:
        """The row if the condition of the UPDATE holds."""
        row = self.rows[task]
        if row.attempt != attempt and Sabotage.NO_FENCING not in self._sabotage:
            return None
        if row.state not in states and Sabotage.NO_ABSORPTION not in self._sabotage:
            return None
        return row

    def _end(
        self, row: Snapshot, state: State, seq: int, progress: Progress, now: float, *, fence: int | None
    ) -> list[Envelope]:
        self._commit(row, replace(row, state=state, seq=seq, progress=progress, ended_at=now), lease=None, fence=fence)
        return [self._envelope(row.id), *self.tell(row.id)]

    def tell(self, task: str, *, later: bool = False) -> list[Envelope]:
        """The notice of an end: in the end's own transaction."""
        if Sabotage.NOTICE_APART in self._sabotage and not later:
            return []
        id, owner, row = f"n{next(self._numbers)}", self.owners[task], self.rows[task]
        self.notices[id] = Notice(id=id, topic=owner, level="info", text=f"{row.state}", task=task)
        return [Envelope(topics=(owner,), notice=self.notices[id])]

    def _commit(self, old: Snapshot | None, new: Snapshot, *, lease: float | None, fence: int | None = None) -> None:
        self._ledger.committed(old, new, fence=fence)
        self.rows[new.id] = new
        self.leases[new.id] = lease

    def _envelope(self, task: str) -> Envelope:
        return Envelope(topics=(task_topic(task), self.owners[task]), snapshot=self.rows[task])
