"""The whole list of an owner's tasks, one page at a time: open tasks, the newest first, then those that ended last.

A page begins after a place in the order, not after a number of rows. So each page costs the same, also for an owner of
100,000 tasks, and a task that is queued meanwhile shows no other task twice. An index of owner, end and time of
queueing holds the order; only rows that are equal in all three are sorted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

from django.db import connections
from django.db.models import Q, QuerySet

from telltale.models import TaskState
from telltale.owners import Owner
from telltale.store.clock import or_now
from telltale.store.reading import NEWEST, up_to_date
from telltale.store.rows import database, is_uuid, task_rows_of

OPEN: Final = "open"
"""Stands for the time of the end in the text of a place among the open tasks."""

Part = Callable[["QuerySet[TaskState]"], "QuerySet[TaskState]"]
"""Takes an owner's tasks, and returns a part of the list in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlace:
    """The place of a task in its owner's list. `str` gives a text for URLs, which `parse` reads."""

    ended_at: float | None
    """None among the open tasks."""
    created_at: float
    id: UUID

    @classmethod
    def of(cls, task: TaskState) -> Self:
        """Return the place of this task as it is now."""
        return cls(ended_at=task.ended_at, created_at=task.created_at, id=task.pk)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the place that the text stands for; None if it stands for none."""
        ended_at, created_at, task_id = [*text.split("_"), "", "", ""][:3]
        try:
            instants = [float(created_at), 0.0 if ended_at == OPEN else float(ended_at)]
        except ValueError:
            return None
        if text.count("_") != 2 or not is_uuid(task_id) or not all(map(math.isfinite, instants)):
            return None
        return cls(ended_at=None if ended_at == OPEN else instants[1], created_at=instants[0], id=UUID(task_id))

    def __str__(self) -> str:
        ended_at = OPEN if self.ended_at is None else repr(self.ended_at)
        return f"{ended_at}_{self.created_at!r}_{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """A page of the list."""

    tasks: list[TaskState]
    next: TaskPlace | None
    """After which place the next page begins; None if this is the last one."""


def list_tasks(
    owner: Owner, *, after: TaskPlace | None = None, size: int = NEWEST, now: float | None = None
) -> TaskPage:
    """Return the owner's tasks that come after a place in the list, `size` at most; from its beginning without one.

    Tasks whose lease expired are ended first. At most two queries for a user, or for one name of a session.
    """
    rows = up_to_date(lambda: _read(owner, after, size + 1), or_now(now))
    tasks = rows[:size]
    return TaskPage(tasks=tasks, next=TaskPlace.of(tasks[-1]) if len(rows) > size else None)


def _read(owner: Owner, after: TaskPlace | None, limit: int) -> list[TaskState]:
    rows: list[TaskState] = []
    for part in _parts(after):
        if len(rows) < limit:
            rows += _merged(owner, part, limit - len(rows))
    return rows


def _parts(after: TaskPlace | None) -> list[Part]:
    """The parts of the list after a place, each in the order of an index and limited by it."""
    if after is None:
        return [_open, _ended]
    if after.ended_at is None:
        return [
            lambda tasks: _open(tasks).filter(created_at__lte=after.created_at).filter(_queued_before(after)),
            _ended,
        ]
    same_end = Q(ended_at=after.ended_at) & _queued_before(after)
    if connections[database()].vendor == "mysql":
        # It would read alternatives in a condition one after another, and sort what it finds.
        return [
            lambda tasks: _ended(tasks).filter(same_end, created_at__lte=after.created_at),
            lambda tasks: _ended(tasks).filter(ended_at__lt=after.ended_at),
        ]
    # The first condition is implied by the second: the index begins there.
    return [
        lambda tasks: (
            _ended(tasks).filter(ended_at__lte=after.ended_at).filter(Q(ended_at__lt=after.ended_at) | same_end)
        )
    ]


def _merged(owner: Owner, part: Part, limit: int) -> list[TaskState]:
    """The first rows of a part of the list. Each name of a session has its own query, for which an index suffices."""
    names = [name for name in (owner.session, *owner.earlier_sessions) if name] if owner.user_id is None else []
    owners = [Owner(session=name) for name in names] or [owner]
    rows = [row for each in owners for row in part(task_rows_of(each).select_related("owner"))[:limit]]
    # Rows of one name are in order already, and equal ones stay as the database has put them.
    return sorted(rows, key=lambda row: (row.ended_at or 0.0, row.created_at), reverse=True)[:limit]


def _open(tasks: "QuerySet[TaskState]") -> "QuerySet[TaskState]":
    # PostgreSQL uses the index's order only if the null column is named too, MariaDB only if it is not.
    is_both = connections[database()].vendor == "postgresql"
    return tasks.filter(ended_at=None).order_by(*(["-ended_at"] if is_both else []), "-created_at", "-pk")


def _ended(tasks: "QuerySet[TaskState]") -> "QuerySet[TaskState]":
    return tasks.filter(ended_at__isnull=False).order_by("-ended_at", "-created_at", "-pk")


def _queued_before(after: TaskPlace) -> Q:
    return Q(created_at__lt=after.created_at) | Q(created_at=after.created_at, pk__lt=after.id)
