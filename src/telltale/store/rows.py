"""The way to the tables: which database, its rows, its transactions, and the small questions asked of them.

Knows the models and nothing of what may happen to a task: the conditions of the races are their modules' own.
Called by the store's other modules, and by nobody else.
"""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from telltale import conf
from telltale.core.states import State
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner
from telltale.store.values import Changed

TRIES: Final = 10
"""How often a lost race is run again; each loss means that somebody else got on."""


def database() -> str:
    return conf.settings().database


def task_rows() -> "QuerySet[TaskState]":
    """All tasks, in the database of the settings. Outside the store for reading only."""
    return TaskState.objects.using(database())


def task_rows_of(owner: Owner) -> "QuerySet[TaskState]":
    """The tasks of this user or anonymous session; none if `owner` is neither. Outside the store for reading only."""
    if owner.user_id is not None:
        return task_rows().filter(owner_id=owner.user_id)
    return task_rows().filter(session=owner.session) if owner.session else task_rows().none()


def notice_rows() -> "QuerySet[StoredNotice]":
    return StoredNotice.objects.using(database())


def in_transaction() -> transaction.Atomic:
    return transaction.atomic(using=database())


def change_of(task_id: UUID | str) -> Changed | None:
    row = task_rows().filter(pk=task_id).first()
    return Changed(snapshot=row.snapshot, topics=row.topics) if row else None


def equals(field: str, value: object) -> Q:
    # `exclude(field=1)` would leave out rows where it is null.
    return Q(**{f"{field}__isnull": True}) if value is None else Q(**{field: value, f"{field}__isnull": False})


def values_of(states: Iterable[State]) -> list[str]:
    return [state.value for state in states]


def is_id(value: object) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True


def ids_among(values: Iterable[UUID | str]) -> list[UUID]:
    return [UUID(str(value)) for value in values if is_id(value)]
