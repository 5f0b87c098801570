"""Reads tasks and notices for pages and followers. Tasks whose lease expired are ended first.

So no task looks alive for longer than its lease plus one read, and no scheduler is needed. If the database can't be
written, such tasks are returned as they are, and their health says that contact was lost. This module does not check
permissions: topics come from tickets that were checked before.
"""

from collections.abc import Collection, Iterable
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from telltale import conf
from telltale.core.topics import InvalidTopic, parse
from telltale.core.wire import Envelope
from telltale.models import TaskState
from telltale.store.clock import or_now
from telltale.store.ending import expire, has_expired
from telltale.store.groups import member_ids, recount
from telltale.store.rows import notice_rows, task_rows, valid_ids
from telltale.store.values import Changed
from telltale.store.write_on_read import write_on_read

NEWEST: Final = 50
"""How many tasks, and how many notices, a follower gets at most."""


def read_tasks(ids: Iterable[UUID | str], *, now: float | None = None) -> list[Envelope]:
    """Return the snapshots of these tasks; one query if no lease expired."""
    known_ids = valid_ids(ids)
    rows = _up_to_date(task_rows().filter(pk__in=known_ids), or_now(now)) if known_ids else []
    return [Envelope(topics=row.topics, snapshot=row.snapshot) for row in rows]


def read_topics(topics: Iterable[str], *, now: float | None = None) -> list[Envelope]:
    """Return the tasks and waiting notices that followers of these topics should see; at most two queries.

    For a user or session: the open tasks and those that ended recently, the newest `NEWEST` of each. A site's own
    topics have no state, so nothing is returned for them.
    """
    instant = or_now(now)
    task_ids, user_ids, sessions = _split(topics)
    envelopes: list[Envelope] = []
    recent = Q(ended_at=None) | Q(ended_at__gte=instant - conf.settings().show_ended_s)
    owned = _any_of(owner_id__in=user_ids, session__in=sessions)
    if task_ids or owned:
        wanted = (Q(pk__in=task_ids) if task_ids else Q(pk=None)) | (owned & recent if owned else Q(pk=None))
        position = Window(
            RowNumber(),
            partition_by=[F("owner_id"), F("session")],
            order_by=[F("ended_at").desc(nulls_first=True), F("created_at").desc()],
        )
        rows = (
            task_rows().filter(wanted).annotate(position=position).filter(Q(position__lte=NEWEST) | Q(pk__in=task_ids))
        )
        envelopes += [Envelope(topics=row.topics, snapshot=row.snapshot) for row in _up_to_date(rows, instant)]
    if owned:
        owners = [topic for topic in set(topics) if topic.startswith(("user:", "session:"))]
        not_shown = notice_rows().filter(topic__in=owners, shown_at=None)
        newest = not_shown.order_by("-created_at")[: NEWEST * len(owners)]
        envelopes += [Envelope(topics=(stored.topic,), notice=stored.notice) for stored in reversed(newest)]
    return envelopes


def get_task(task_id: UUID | str, *, now: float | None = None) -> TaskState | None:
    """Return the row, ended if its lease expired; None for an unknown or malformed id."""
    ids = valid_ids([task_id])
    rows = _up_to_date(task_rows().filter(pk__in=ids).select_related("owner"), or_now(now)) if ids else []
    return rows[0] if rows else None


def end_expired(ids: Iterable[UUID | str] | None = None, *, now: float | None = None) -> bool:
    """End the tasks whose lease expired, of `ids` or of all; return whether rows that were read before are outdated."""
    return bool(write_on_read(lambda: expire(ids, now=now)))


def _up_to_date(query: "QuerySet[TaskState]", instant: float) -> list[TaskState]:
    rows = list(query)
    expired_ids = [row.pk for row in rows if has_expired(row, instant)]
    groups = [row for row in rows if row.ended_at is None and "steps" in row.call]
    if not expired_ids and not groups:
        return rows
    is_written = write_on_read(lambda: _expire_and_recount(expired_ids, groups, instant)) is not None
    # Read again even if nothing was changed: another process may have been faster.
    return list(query.all()) if is_written else rows


def _expire_and_recount(expired_ids: Collection[UUID], groups: Collection[TaskState], instant: float) -> list[Changed]:
    ended = expire([*expired_ids, *(pk for group in groups for pk in member_ids(group))], now=instant)
    counted = [recount(group.pk, now=instant) for group in groups]
    return [*ended, *(change for change in counted if change is not None)]


def _split(topics: Iterable[str]) -> tuple[list[UUID], list[Any], list[str]]:
    """The task ids, user ids and session digests that the topics name."""
    task_ids: list[UUID] = []
    user_ids: list[Any] = []
    sessions: list[str] = []
    to_user_id = TaskState._meta.get_field("owner").target_field.to_python
    for topic in set(topics):
        try:
            kind, name = parse(topic)
            if kind == "task":
                task_ids += valid_ids([name])
            elif kind == "user":
                user_ids.append(to_user_id(name))
            elif kind == "session":
                sessions.append(name)
        except (InvalidTopic, ValidationError):
            continue  # No ticket can hold such a topic, so nothing is found for it.
    return task_ids, user_ids, sessions


def _any_of(**lookups: list[Any]) -> Q:
    """A condition that any non-empty lookup meets; empty if all are."""
    condition = Q()
    for lookup, values in lookups.items():
        if values:
            condition |= Q(**{lookup: values})
    return condition
