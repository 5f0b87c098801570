"""Access to the tables: the database, its rows, its transactions, and small helpers for queries.

This module knows nothing about a task's life: the conditions of the races are in the modules that decide them.
"""

from collections.abc import Collection, Iterable
from typing import Final
from uuid import UUID

from django.db import connections, transaction
from django.db.models import Q, QuerySet

from telltale import conf
from telltale.core.states import State
from telltale.models import PushSubscription, StoredNotice, TaskFollower, TaskState
from telltale.owners import Owner
from telltale.store.values import Changed

MAX_TRIES: Final = 10
"""How often a lost race is tried again; each loss means that another process made progress."""


def database() -> str:
    """The alias of the database that holds Telltale's tables."""
    return conf.settings().database


def task_rows() -> "QuerySet[TaskState]":
    """All tasks, in the database of the settings. Outside the store: for reading only."""
    return TaskState.objects.using(database())


def task_rows_of(owner: Owner) -> "QuerySet[TaskState]":
    """The tasks of this user or anonymous session; none if `owner` is neither. Outside the store: for reading only."""
    if owner.user_id is not None:
        return task_rows().filter(owner_id=owner.user_id)
    if not owner.session:
        return task_rows().none()
    if owner.earlier_sessions:
        return task_rows().filter(session__in=[owner.session, *owner.earlier_sessions], owner_id=None)
    return task_rows().filter(session=owner.session, owner_id=None)


def notice_rows() -> "QuerySet[StoredNotice]":
    """All stored notices, in the database of the settings."""
    return StoredNotice.objects.using(database())


def follower_rows() -> "QuerySet[TaskFollower]":
    """All visitors who joined a shared task, in the database of the settings."""
    return TaskFollower.objects.using(database())


def push_rows() -> "QuerySet[PushSubscription]":
    """All browsers to which notices are pushed, in the database of the settings."""
    return PushSubscription.objects.using(database())


def in_transaction() -> transaction.Atomic:
    """A transaction in the database of the settings; a savepoint within an outer one."""
    return transaction.atomic(using=database())


def free_ids(ids: Collection[UUID]) -> Collection[UUID]:
    """Return those of the tasks whose rows no other transaction has locked, as far as the database can tell."""
    if not ids or not connections[database()].features.has_select_for_update_skip_locked:
        return ids
    with in_transaction():
        free = task_rows().filter(pk__in=ids).select_for_update(skip_locked=True)
        return set(free.values_list("pk", flat=True))


def read_change(task_id: UUID | str) -> Changed | None:
    """The task as it is now, as a change to publish; None if there is no such task."""
    row = task_rows().filter(pk=task_id).first()
    return Changed(snapshot=row.snapshot, topics=row.topics) if row else None


def equals(field: str, value: object) -> Q:
    """A condition for `exclude`, which also treats null as a value."""
    # `exclude(field=1)` would also exclude the rows in which it is null.
    return Q(**{f"{field}__isnull": True}) if value is None else Q(**{field: value, f"{field}__isnull": False})


def values_of(states: Iterable[State]) -> list[str]:
    """The states as the column holds them."""
    return [state.value for state in states]


def is_uuid(value: object) -> bool:
    """Whether `value` is a UUID or the text of one."""
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True


def valid_ids(values: Iterable[UUID | str]) -> list[UUID]:
    """The ids among `values`; malformed ones are left out."""
    return [UUID(str(value)) for value in values if is_uuid(value)]
