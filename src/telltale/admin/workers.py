"""The workers that run tasks now, and what each runs: from the running rows, by one query of an index.

An idle worker is not among them: no row names it, and asking the runners takes seconds. A row names the process that
holds its lease, so a worker whose contact is lost stays until its leases expire.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from telltale import conf, store
from telltale.core.labels import shown_label
from telltale.core.snapshot import Progress
from telltale.core.states import State
from telltale.pages.catalogue import message, percentage

READ: Final = 1_000
"""At most this many running tasks are read, those that were queued last."""

LISTED: Final = 20
"""At most this many tasks of a worker are listed, those that began first."""

COLUMNS: Final = ("pk", "label", "name", "runner", "queue", "worker", "started_at", "beat_at", "progress")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """A task that a worker runs."""

    id: UUID
    label: str
    started_at: float
    figure: str
    """Its progress as a percentage; empty if it reports none."""


@dataclass(slots=True, kw_only=True)
class Worker:
    """A process that runs tasks. Instants are in seconds since 1970, by the store's clock."""

    host: str
    process: str
    busy_since: float
    beat_at: float
    """The last contact."""
    is_silent: bool = False
    """Whether the contact is lost."""
    kinds: dict[str, None] = field(default_factory=dict)
    """The runners and queues of its tasks, in order."""
    tasks: list[RunningTask] = field(default_factory=list)

    @property
    def listed(self) -> list[RunningTask]:
        """The tasks to list."""
        return self.tasks[:LISTED]

    @property
    def more(self) -> int:
        """How many tasks are not listed."""
        return len(self.tasks) - len(self.listed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """The workers by host and process, and whether more tasks are running than were read."""

    workers: list[Worker]
    tasks: int
    is_complete: bool


def busy_workers(*, now: float) -> Workers:
    """Return the workers that run tasks, by host and process. `now`: by the store's clock, in seconds since 1970."""
    running = store.task_rows().filter(ended_at=None, state=State.RUNNING.value).order_by("-created_at")
    rows = list(running.values(*COLUMNS)[: READ + 1])
    workers = _by_worker(rows[:READ])
    for worker in workers:
        worker.is_silent = now - worker.beat_at > conf.settings().limits.stalled_s
    count = sum(len(worker.tasks) for worker in workers)
    return Workers(workers=workers, tasks=count, is_complete=len(rows) <= READ)


def _by_worker(rows: Iterable[dict[str, object]]) -> list[Worker]:
    workers: dict[str, Worker] = {}
    for row in sorted(rows, key=lambda row: row["started_at"] or 0.0):  # type: ignore[arg-type, return-value]
        name, started_at, beat_at = str(row["worker"]), float(row["started_at"] or 0.0), float(row["beat_at"] or 0.0)  # type: ignore[arg-type]
        if not name:  # A group, which its members run.
            continue
        host, _, process = name.rpartition(":")
        worker = workers.setdefault(
            name, Worker(host=host or name, process=process, busy_since=started_at, beat_at=beat_at)
        )
        worker.beat_at = max(worker.beat_at, beat_at)
        worker.kinds |= dict.fromkeys(str(row[kind]) for kind in ("runner", "queue") if row[kind])
        worker.tasks.append(_task(row, started_at))
    return sorted(workers.values(), key=lambda worker: (worker.host, worker.process.zfill(12)))


def _task(row: dict[str, object], started_at: float) -> RunningTask:
    fraction = Progress.from_json(row["progress"]).fraction  # type: ignore[arg-type]
    return RunningTask(
        id=row["pk"],  # type: ignore[arg-type]
        label=shown_label(str(row["label"]), str(row["name"])) or message("task"),
        started_at=started_at,
        figure="" if fraction is None else percentage(fraction),
    )
