"""Reads tasks and notices for pages and followers. Tasks whose lease expired are ended first.

So no task looks alive for longer than its lease plus one read, and no scheduler is needed. If the database can't be
written, such tasks are returned as they are, and their health says that contact was lost. This module does not check
permissions: topics come from tickets that were checked before.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import Model

from telltale import conf
from telltale.core.states import KNOWN_STATES
from telltale.core.topics import InvalidTopic, parse, unescape
from telltale.core.wire import Envelope
from telltale.models import StoredNotice, TaskState
from telltale.store.clock import or_now
from telltale.store.ending import expire, has_expired
from telltale.store.groups import expired_member_ids, recount
from telltale.store.rows import database, task_rows, valid_ids
from telltale.store.unsaved import add_unsaved
from telltale.store.values import Changed
from telltale.store.write_on_read import write_on_read

NEWEST: Final = 50
"""How many tasks, and how many notices, a follower gets at most."""

OWNERS_AT_ONCE: Final = 100
"""How many owners share a query: each adds two parts to a union, and SQLite allows 500."""

OwnerKey = tuple[str, str, Any]
"""A user's or session's topic, the field that holds it, and its value."""

Part = tuple[str, Sequence[Any], str, int]
"""A condition in SQL, its parameters, the order, and how many rows are wanted."""

M = TypeVar("M", bound=Model)


def read_tasks(ids: Iterable[UUID | str], *, now: float | None = None) -> list[Envelope]:
    """Return the snapshots of these tasks; one query if no lease expired."""
    known_ids = valid_ids(ids)
    rows = up_to_date(lambda: list(task_rows().filter(pk__in=known_ids)), or_now(now)) if known_ids else []
    return [Envelope(topics=row.topics, snapshot=row.snapshot) for row in rows]


def read_topics(topics: Iterable[str], *, now: float | None = None) -> list[Envelope]:
    """Return the tasks and waiting notices that followers of these topics should see.

    For a user or session: the open tasks and those that ended recently, the newest `NEWEST` of each, and the newest
    `NEWEST` notices. A site's own topics have no state, so nothing is returned for them. Two queries for
    `OWNERS_AT_ONCE` users and sessions, each of which examines some rows of each owner, however many there are.
    """
    instant = or_now(now)
    task_ids, owners = _split(topics)
    envelopes: list[Envelope] = []
    for batch in _batches(owners, OWNERS_AT_ONCE) or ([[]] if task_ids else []):
        rows = up_to_date(partial(_read_newest, TaskState, list(_task_parts(task_ids, batch, instant))), instant)
        envelopes += [Envelope(topics=row.topics, snapshot=row.snapshot) for row in _newest(rows, task_ids)]
        task_ids = []
    for batch in _batches(owners, OWNERS_AT_ONCE):
        notices = _read_newest(StoredNotice, _notice_parts(topic for topic, _column, _value in batch))
        notices.sort(key=lambda stored: stored.created_at)
        envelopes += [Envelope(topics=(stored.topic,), notice=stored.notice) for stored in notices]
    return envelopes


def _batches(owners: Sequence[OwnerKey], size: int) -> list[Sequence[OwnerKey]]:
    return [owners[start : start + size] for start in range(0, len(owners), size)]


def _task_parts(task_ids: Sequence[UUID], owners: Iterable[OwnerKey], instant: float) -> Iterator[Part]:
    """These tasks, and for each owner the newest open tasks and the newest that ended recently."""
    connection, columns = connections[database()], _columns(TaskState)
    order = f"{columns['ended_at']} DESC, {columns['created_at']} DESC"
    order_of_open = _newest_of_null(columns["ended_at"], columns["created_at"])
    since = instant - conf.settings().show_ended_s
    if task_ids:
        values = [TaskState._meta.pk.get_db_prep_value(pk, connection) for pk in task_ids]
        yield f"{columns['id']} IN ({', '.join(['%s'] * len(values))})", values, order, len(values)
    for _topic, name, value in owners:
        field: Any = TaskState._meta.get_field(name)
        prepared = field.get_db_prep_value(value, connection)
        yield f"{columns[name]} = %s AND {columns['ended_at']} IS NULL", [prepared], order_of_open, NEWEST
        yield f"{columns[name]} = %s AND {columns['ended_at']} >= %s", [prepared, since], order, NEWEST


def _notice_parts(topics: Iterable[str]) -> Iterator[Part]:
    """For each topic the newest notices that were not shown."""
    columns = _columns(StoredNotice)
    order = _newest_of_null(columns["shown_at"], columns["created_at"])
    for topic in topics:
        yield f"{columns['topic']} = %s AND {columns['shown_at']} IS NULL", [topic], order, NEWEST


def _read_newest(model: type[M], parts: Iterable[Part]) -> list[M]:
    """The newest rows of each part.

    Each part has a LIMIT of its own, for which an index suffices: a window function would sort all rows of an owner.
    By hand, because the ORM can't write a union of these on SQLite.
    """
    columns, table = ", ".join(_columns(model).values()), connections[database()].ops.quote_name(model._meta.db_table)
    selects: list[str] = []
    values: list[Any] = []
    for number, (condition, parameters, order, limit) in enumerate(parts):
        newest = f"SELECT {columns} FROM {table} WHERE {condition} ORDER BY {order} LIMIT {limit}"  # noqa: S608
        selects.append(f"SELECT {columns} FROM ({newest}) AS part_{number}")  # noqa: S608
        values += parameters
    rows = model._default_manager.using(database()).raw(" UNION ALL ".join(selects), values)
    return list({row.pk: row for row in rows}.values())


def _newest_of_null(null_column: str, created_at: str) -> str:
    """The order of rows in which `null_column` is null, in terms of an index of both columns.

    PostgreSQL uses the index's order only if both are named, MariaDB only if the null one is not.
    """
    is_both = connections[database()].vendor == "postgresql"
    return f"{null_column} DESC, {created_at} DESC" if is_both else f"{created_at} DESC"


def _columns(model: type[Model]) -> dict[str, str]:
    """The quoted column of each field."""
    quote = connections[database()].ops.quote_name
    return {field.name: quote(str(field.column)) for field in model._meta.concrete_fields}


def _newest(rows: Iterable[TaskState], task_ids: Collection[UUID]) -> Iterator[TaskState]:
    """Of each owner the `NEWEST` tasks, open ones first; and those in `task_ids`."""
    counts: Counter[str | None] = Counter()
    for row in sorted(rows, key=lambda row: (row.ended_at is not None, -(row.ended_at or 0.0), -row.created_at)):
        counts[row.owner_topic] += 1
        if counts[row.owner_topic] <= NEWEST or row.pk in task_ids:
            yield row


def get_task(task_id: UUID | str, *, now: float | None = None) -> TaskState | None:
    """Return the row, ended if its lease expired; None for an unknown or malformed id."""
    rows = get_tasks([task_id], now=now)
    return rows[0] if rows else None


def get_tasks(ids: Iterable[UUID | str], *, now: float | None = None) -> list[TaskState]:
    """Return the rows in any order, ended if their lease expired; without unknown and malformed ids."""
    known_ids = valid_ids(ids)
    query = task_rows().filter(pk__in=known_ids).select_related("owner")
    return up_to_date(lambda: list(query.all()), or_now(now)) if known_ids else []


def end_expired(ids: Iterable[UUID | str] | None = None, *, now: float | None = None) -> bool:
    """End the tasks whose lease expired, of `ids` or of all; return whether rows that were read before are outdated."""
    return bool(write_on_read(lambda: expire(ids, now=now)))


def up_to_date(read: Callable[[], list[TaskState]], instant: float) -> list[TaskState]:
    """Return the rows that `read` finds, with unsaved progress, after those whose lease expired were ended.

    During an upgrade, a newer version may write states that this one does not know: such rows are left out.
    """

    def read_known() -> list[TaskState]:
        return [row for row in read() if row.state in KNOWN_STATES]

    rows = read_known()
    expired_ids = [row.pk for row in rows if has_expired(row, instant)]
    groups = [row for row in rows if row.ended_at is None and "steps" in row.call]
    # After a write, read again even if nothing was changed: another process may have been faster.
    if (expired_ids or groups) and write_on_read(lambda: _expire_and_recount(expired_ids, groups, instant)) is not None:
        rows = read_known()
    add_unsaved(rows, instant)
    return rows


def _expire_and_recount(expired_ids: Collection[UUID], groups: Collection[TaskState], instant: float) -> list[Changed]:
    ended = expire([*expired_ids, *(expired_member_ids(groups, instant) if groups else ())], now=instant)
    counted = [recount(group.pk, now=instant) for group in groups]
    return [*ended, *(change for change in counted if change is not None)]


def _split(topics: Iterable[str]) -> tuple[list[UUID], list[OwnerKey]]:
    """The task ids, and the users and sessions that the topics name."""
    task_ids: list[UUID] = []
    owners: list[OwnerKey] = []
    to_user_id = TaskState._meta.get_field("owner").target_field.to_python
    for topic in set(topics):
        try:
            kind, name = parse(topic)
            if kind == "task":
                task_ids += valid_ids([name])
            elif kind == "user":
                owners.append((topic, "owner", to_user_id(unescape(name))))
            elif kind == "session":
                owners.append((topic, "session", name))
        except (InvalidTopic, ValidationError, UnicodeDecodeError):
            continue  # No ticket can hold such a topic, so nothing is found for it.
    return task_ids, owners
