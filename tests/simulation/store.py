"""The virtual store: does with a dict what `telltale/store/` does by conditional UPDATEs, with the same state table."""

from dataclasses import dataclass, replace
from itertools import count

from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import CLAIMABLE, RETRIABLE, State, sources
from telltale.core.topics import CANCELLATIONS, task_topic
from telltale.core.wire import Envelope, Notice
from tests.simulation.ledger import LEASE_S, Ledger
from tests.simulation.sabotage import Sabotage, Sabotages

BEAT_S = 10.0


class DatabaseDown(Exception):
    """The database does not answer."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The result of a save that was accepted."""

    attempt: int
    """Another one than was reported if the reported one was taken back."""
    seq: int
    cancel_requested: bool


class Store:
    """Rows are snapshots, with their leases beside them; every method is one transaction."""

    def __init__(self, ledger: Ledger, sabotage: Sabotages) -> None:
        self.rows: dict[str, Snapshot] = {}
        self.leases: dict[str, float | None] = {}
        self.owners: dict[str, str] = {}
        self.notices: dict[str, Notice] = {}
        self.shown: set[str] = set()
        self._ends_of_notices: dict[str, tuple[str, int]] = {}
        """Of which task's which attempt each notice tells the end."""
        self.is_down = False
        self._ledger = ledger
        self._sabotage = sabotage
        self._numbers = count(1)
        self._envelopes: dict[str, Envelope] = {}
        """Of the rows as they are now, so that each is encoded once, however often it is read."""

    # By people -----------------------------------------------------------------------------------

    def queue(self, task: str, owner: str, now: float) -> list[Envelope]:
        """Add a task."""
        self._check_is_up()
        self.owners[task] = owner
        self._commit(None, Snapshot(id=task, attempt=1, seq=0, state=State.QUEUED, created_at=now), lease=None)
        return [self._envelope(task)]

    def requeue(self, task: str) -> list[Envelope]:
        """Queue the next attempt, for a person's retry."""
        self._check_is_up()
        row = self.rows[task]
        if row.state not in RETRIABLE:
            return []
        fresh = Snapshot(id=task, attempt=row.attempt + 1, seq=0, state=State.QUEUED, created_at=row.created_at)
        self._commit(row, fresh, lease=None)
        return [self._envelope(task)]

    def request_cancel(self, task: str, now: float) -> list[Envelope]:
        """Cancel the task at once if it does not run, else set a flag that its worker finds."""
        self._check_is_up()
        row = self.rows[task]
        if row.state in (State.QUEUED, State.RETRYING):
            return self._end(row, State.CANCELLED, row.seq + 1, row.progress, now, fence=None)
        if row.state is not State.RUNNING or row.cancel_requested:
            return []
        self._commit(row, replace(row, cancel_requested=True, seq=row.seq + 1), lease=self.leases[task])
        return [self._envelope(task), Envelope(topics=(CANCELLATIONS,), cancel=task)]

    # By workers ----------------------------------------------------------------------------------

    def claim(self, task: str, now: float) -> Snapshot | None:
        """Return the attempt that a delivery may run; None if it may run none."""
        self._check_is_up()
        row = self.rows[task]
        if row.state not in CLAIMABLE and Sabotage.REDELIVERY_REOPENS not in self._sabotage:
            return None
        self._ledger.executed(row)
        is_queued = row.state is State.QUEUED
        running = replace(
            row,
            attempt=row.attempt if is_queued else row.attempt + 1,
            seq=row.seq + 1 if is_queued else 0,
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
        """Save progress and renew the lease; None if the worker is fenced."""
        self._check_is_up()
        report = self._take_back(report, now)
        row = self._row_if(report.id, report.attempt, {State.RUNNING})
        if row is None:
            return None
        cancel_requested = row.cancel_requested or report.cancel_requested
        if Sabotage.FORGETS_CANCEL in self._sabotage:
            cancel_requested = report.cancel_requested
        seq = max(row.seq, report.seq)
        lease: float | None = now + LEASE_S
        if Sabotage.NO_RENEWAL in self._sabotage:
            lease = self.leases[report.id]
        saved = replace(report, attempt=row.attempt, seq=seq, cancel_requested=cancel_requested)
        self._commit(row, saved, lease=lease, fence=report.attempt)
        return Saved(report.attempt, seq, cancel_requested)

    def end(self, report: Snapshot, state: State, now: float) -> list[Envelope]:
        """End an attempt, with its notice; return nothing if it has ended or is not the present one."""
        self._check_is_up()
        report = self._take_back(report, now)
        row = self._row_if(report.id, report.attempt, sources(state))
        if row is None:
            return []
        seq = max(row.seq, report.seq) + 1
        return self._end(row, state, seq, report.progress, now, fence=report.attempt)

    def retrying(self, report: Snapshot, now: float, due_at: float) -> list[Envelope]:
        """Note that the attempt failed and the runner will run the task again; if it never does, the lease expires."""
        self._check_is_up()
        report = self._take_back(report, now)
        row = self._row_if(report.id, report.attempt, sources(State.RETRYING))
        if row is None:
            return []
        seq = max(row.seq, report.seq) + 1
        if row.cancel_requested:
            return self._end(row, State.CANCELLED, seq, report.progress, now, fence=report.attempt)
        waiting = replace(report, attempt=row.attempt, seq=seq, state=State.RETRYING, due_at=due_at)
        self._commit(row, waiting, lease=due_at + LEASE_S, fence=report.attempt)
        return [self._envelope(report.id)]

    def _take_back(self, report: Snapshot, now: float) -> Snapshot:
        """Continue an attempt that is presumed lost under the next number; return the report under that number."""
        row = self.rows[report.id]
        is_lost = row.state is State.LOST and row.attempt == report.attempt
        if Sabotage.TAKES_BACK_FENCED in self._sabotage:
            is_lost = is_lost or row.attempt > report.attempt
        if not is_lost or Sabotage.LOST_FOR_GOOD in self._sabotage:
            return report
        number = row.attempt + 1
        running = replace(row, attempt=number, seq=row.seq + 1, state=State.RUNNING, beat_at=now, ended_at=None)
        self._ledger.taken_back(row, by_attempt=report.attempt)
        self._commit(row, running, lease=now + LEASE_S)
        for id in [id for id, end in self._ends_of_notices.items() if end == (row.id, row.attempt)]:
            if id not in self.shown:
                self.notices.pop(id, None)
        return replace(report, attempt=number)

    # By readers ----------------------------------------------------------------------------------

    def expire(self, now: float) -> list[Envelope]:
        """Mark tasks whose lease expired as lost; every read calls this."""
        if Sabotage.NO_EXPIRY in self._sabotage:
            return []
        envelopes: list[Envelope] = []
        for task, lease in list(self.leases.items()):
            row = self.rows[task]
            if lease is not None and lease <= now and row.state in sources(State.LOST):
                envelopes += self._end(row, State.LOST, row.seq + 1, row.progress, now, fence=None)
        return envelopes

    def read(self, topics: frozenset[str]) -> list[Envelope]:
        """Return the tasks and notices of `topics`."""
        self._check_is_up()
        found = [self._envelope(task) for task, owner in self.owners.items() if {owner, task_topic(task)} & topics]
        unshown = (notice for notice in self.notices.values() if notice.topic in topics and notice.id not in self.shown)
        return found + [Envelope(topics=(notice.topic,), notice=notice) for notice in unshown]

    def take_notice(self, notice: str) -> bool:
        """Whether the page that asks is the first, and so shows the notice."""
        if notice not in self.notices:
            return False
        if notice in self.shown and Sabotage.NOTICE_TWICE not in self._sabotage:
            return False
        self.shown.add(notice)
        return True

    # Shared --------------------------------------------------------------------------------------

    def _check_is_up(self) -> None:
        if self.is_down:
            raise DatabaseDown

    def _row_if(self, task: str, attempt: int, states: set[State] | frozenset[State]) -> Snapshot | None:
        """Return the row if the condition of the UPDATE applies."""
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
        return [self._envelope(row.id), *self.add_notice(row.id)]

    def add_notice(self, task: str, *, later: bool = False) -> list[Envelope]:
        """Add the notice of an end, in the transaction of the end unless `later`."""
        if Sabotage.NOTICE_APART in self._sabotage and not later:
            return []
        id, owner, row = f"n{next(self._numbers)}", self.owners[task], self.rows[task]
        self._ends_of_notices[id] = (task, row.attempt)
        self.notices[id] = Notice(id=id, topic=owner, level="info", text=f"{row.state}", task=task)
        return [Envelope(topics=(owner,), notice=self.notices[id])]

    def _commit(self, old: Snapshot | None, new: Snapshot, *, lease: float | None, fence: int | None = None) -> None:
        self._ledger.committed(old, new, fence=fence)
        self.rows[new.id] = new
        self._envelopes.pop(new.id, None)
        self.leases[new.id] = lease

    def _envelope(self, task: str) -> Envelope:
        envelope = self._envelopes.get(task)
        if envelope is None:
            topics = (task_topic(task), self.owners[task])
            envelope = self._envelopes[task] = Envelope(topics=topics, snapshot=self.rows[task])
        return envelope
