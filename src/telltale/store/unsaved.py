"""What is known of running tasks before it is saved: from this process's own trackers, or heard from the broker.

A worker can't save while another transaction holds SQLite's only write lock, which may be its own task's, or while the
database is read-only. It goes on publishing. A read shows what it published, and does not presume lost a worker that
is known to be alive. The store trusts such a report only for the running attempt that the row names: whether an attempt
has ended is known from the database alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from telltale import conf
from telltale.core.snapshot import Snapshot, is_credible
from telltale.core.states import State
from telltale.models import TaskState


class SavedRun(NamedTuple):
    """What is saved of a running attempt."""

    attempt: int
    seq: int
    beat_at: float
    """0 if there was no beat."""

    def believes(self, report: Snapshot, instant: float) -> bool:
        """Whether this report can be true, which is as new as the row or newer."""
        saved = (self.attempt, False, self.seq)
        return report.order[:2] == saved[:2] and is_credible(report.order, saved, beat_at=self.beat_at, now=instant)


Source = Callable[[Mapping[str, SavedRun]], Iterable[Snapshot]]
"""Called with the ids of running tasks, each with what is saved of it; returns the newest snapshots that it knows."""

_sources: Final[list[Source]] = []

_SAME_NAMES: Final = (
    "seq",
    "label",
    "no_cancel",
    "remaining_s",
    "remaining_spread",
    "moved_at",
    "beat_at",
)


def add_source(source: Source) -> None:
    """Ask this source at every read of a running task, from any thread. It must be quick and must not raise."""
    _sources.append(source)


def add_unsaved(rows: Sequence[TaskState], instant: float) -> None:
    """Set the fields of running tasks to what their workers published last, if that is newer than what is saved."""
    running = {str(row.pk): row for row in rows if row.state == State.RUNNING}
    saved = {key: SavedRun(row.attempt, row.seq, row.beat_at or 0.0) for key, row in running.items()}
    for task_id, report in _newest_reports(saved, instant).items():
        row = running[task_id]
        if report.seq > row.seq:
            _set_fields(row, report, instant)


def alive_ids(saved: Mapping[UUID, SavedRun], instant: float) -> set[UUID]:
    """Return the tasks whose worker has published a beat within the lease."""
    reports = _newest_reports({str(pk): run for pk, run in saved.items()}, instant)
    return {UUID(task_id) for task_id, report in reports.items() if _is_recent(report.beat_at or 0.0, instant)}


def _is_recent(beat_at: float, instant: float) -> bool:
    # It may have come after `instant` was taken. One from farther in the future is wrong: the lease must end some time.
    settings = conf.settings()
    return instant - settings.lease_s <= beat_at <= instant + settings.beat_s


def _newest_reports(saved: Mapping[str, SavedRun], instant: float) -> dict[str, Snapshot]:
    """The newest credible report of each task."""
    newest: dict[str, Snapshot] = {}
    for source in _sources if saved else ():
        for report in source(saved):
            run = saved.get(report.id)
            if run is None or not run.believes(report, instant):
                continue
            if report.id not in newest or report.order > newest[report.id].order:
                newest[report.id] = report
    return newest


def _set_fields(row: TaskState, report: Snapshot, instant: float) -> None:
    fields: dict[str, Any] = {name: getattr(report, name) for name in _SAME_NAMES}
    beat_at = report.beat_at or 0.0
    if _is_recent(beat_at, instant):
        fields["lease_until"] = max(row.lease_until or 0.0, beat_at + conf.settings().lease_s)
    fields["beat_at"] = min(beat_at, instant)
    fields["progress"] = report.progress.to_json()
    fields["cancel_requested"] = row.cancel_requested or report.cancel_requested
    for name, value in fields.items():
        setattr(row, name, value)
