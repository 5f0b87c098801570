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


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
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
    next: Place | None
    """After which place the next page begins; None if this is the last one."""


def list_tasks(owner: Owner, *, after: Place | None = None, size: int = NEWEST, now: float | None = None) -> TaskPage:
    """Return the owner's tasks that come after a place in the list, `size` at most; from its beginning without one.

    Tasks whose lease expired are ended first. Two queries for a user, or for one name of a session.
    """
    rows = up_to_date(lambda: _read(owner, after, size + 1), or_now(now))
    tasks = rows[:size]
    return TaskPage(tasks=tasks, next=Place.of(tasks[-1]) if len(rows) > size else None)


def _read(owner: Owner, after: Place | None, limit: int) -> list[TaskState]:
    rows: list[TaskState] = []
    if after is None or after.ended_at is None:
        rows = _merged(owner, lambda tasks: _open(tasks, after)[:limit], limit)
        after = None
    if len(rows) < limit:
        rows += _merged(owner, lambda tasks: _ended(tasks, after)[: limit - len(rows)], limit - len(rows))
    return rows


def _merged(
    owner: Owner, part: Callable[["QuerySet[TaskState]"], "QuerySet[TaskState]"], limit: int
) -> list[TaskState]:
    """The first rows of a part of the list. Each name of a session has its own query, for which an index suffices."""
    names = [name for name in (owner.session, *owner.earlier_sessions) if name] if owner.user_id is None else []
    owners = [Owner(session=name) for name in names] or [owner]
    rows = [row for one in owners for row in part(task_rows_of(one).select_related("owner"))]
    # Rows of one name are in order already, and equal ones stay as the database has put them.
    return sorted(rows, key=lambda row: (row.ended_at or 0.0, row.created_at), reverse=True)[:limit]


def _open(tasks: "QuerySet[TaskState]", after: Place | None) -> "QuerySet[TaskState]":
    tasks = tasks.filter(ended_at=None)
    if after is not None:
        # The first condition is implied by the second. An index needs it to begin at the place.
        tasks = tasks.filter(Q(created_at__lte=after.created_at) & _created_before(after))
    # PostgreSQL uses the index's order only if the null column is named too, MariaDB only if it is not.
    is_both = connections[database()].vendor == "postgresql"
    return tasks.order_by(*(["-ended_at"] if is_both else []), "-created_at", "-pk")


def _ended(tasks: "QuerySet[TaskState]", after: Place | None) -> "QuerySet[TaskState]":
    tasks = tasks.filter(ended_at__isnull=False)
    if after is not None and after.ended_at is not None:
        is_earlier = Q(ended_at__lt=after.ended_at) | (Q(ended_at=after.ended_at) & _created_before(after))
        tasks = tasks.filter(Q(ended_at__lte=after.ended_at) & is_earlier)
    return tasks.order_by("-ended_at", "-created_at", "-pk")


def _created_before(after: Place) -> Q:
    return Q(created_at__lt=after.created_at) | Q(created_at=after.created_at, pk__lt=after.id)
