"""What a reader finds: present snapshots, and the notices that wait. Whatever lapsed is ended before it is shown.

So no spinner outlives its lease by more than a read, and no scheduler is needed. Where the database can't be written,
what lapsed is shown as it is, and its health says that contact is lost. Must not know who may see what:
topics come from tickets that `web` has checked. Called by `web`.
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
from telltale.store.by_reader import write_for_reader
from telltale.store.clock import instant
from telltale.store.ending import expire, has_lapsed
from telltale.store.groups import member_ids, recount
from telltale.store.rows import ids_among, notice_rows, task_rows
from telltale.store.values import Changed

NEWEST: Final = 50
"""How many tasks, and how many notices, a follower's snapshot holds."""


def read_tasks(ids: Iterable[UUID | str], *, now: float | None = None) -> list[Envelope]:
    """The present snapshots of these tasks, those that lapsed ended first; one query if none has."""
    known = ids_among(ids)
    rows = _fresh(task_rows().filter(pk__in=known), instant(now)) if known else []
    return [Envelope(topics=row.topics, snapshot=row.snapshot) for row in rows]


def read_topics(topics: Iterable[str], *, now: float | None = None) -> list[Envelope]:
    """What followers of these topics should see: tasks and notices that wait; at most two queries.

    Of a person or session: the open tasks and those that ended lately, the newest `NEWEST` of each. Topics
    of the site's own have no state, so nothing is found for them.
    """
    at = instant(now)
    tasks, users, sessions = _sorted(topics)
    told: list[Envelope] = []
    recent = Q(ended_at=None) | Q(ended_at__gte=at - conf.settings().show_ended_s)
    followed = _any_of(owner_id__in=users, session__in=sessions)
    if tasks or followed:
        wanted = (Q(pk__in=tasks) if tasks else Q(pk=None)) | (followed & recent if followed else Q(pk=None))
        newest = Window(
            RowNumber(),
            partition_by=[F("owner_id"), F("session")],
            order_by=[F("ended_at").desc(nulls_first=True), F("created_at").desc()],
        )
        rows = task_rows().filter(wanted).annotate(nth=newest).filter(Q(nth__lte=NEWEST) | Q(pk__in=tasks))
        told += [Envelope(topics=row.topics, snapshot=row.snapshot) for row in _fresh(rows, at)]
    if followed:
        people = [topic for topic in set(topics) if topic.startswith(("user:", "session:"))]
        waiting = notice_rows().filter(topic__in=people, shown_at=None).order_by("-created_at")[: NEWEST * len(people)]
        told += [Envelope(topics=(stored.topic,), notice=stored.notice) for stored in reversed(waiting)]
    return told


def get_task(task_id: UUID | str, *, now: float | None = None) -> TaskState | None:
    """The row, ended if its lease has lapsed; None for an unknown or malformed id."""
    known = ids_among([task_id])
    rows = _fresh(task_rows().filter(pk__in=known).select_related("owner"), instant(now)) if known else []
    return rows[0] if rows else None


def end_lapsed(ids: Iterable[UUID | str] | None = None, *, now: float | None = None) -> bool:
    """End what lapsed, of these tasks or of all, for a reader of their rows: whether these are to be read again."""
    return bool(write_for_reader(lambda: expire(ids, now=now)))


def _fresh(rows: "QuerySet[TaskState]", at: float) -> list[TaskState]:
    found = list(rows)
    lapsed = [row.pk for row in found if has_lapsed(row, at)]
    wholes = [row for row in found if row.ended_at is None and "steps" in row.call]
    if not lapsed and not wholes:
        return found
    is_written = write_for_reader(lambda: _brought_up_to_date(lapsed, wholes, at)) is not None
    # Read again also where nothing was changed: somebody else may have been quicker.
    return list(rows.all()) if is_written else found


def _brought_up_to_date(lapsed: Collection[UUID], wholes: Collection[TaskState], at: float) -> list[Changed]:
    ended = expire([*lapsed, *(pk for row in wholes for pk in member_ids(row))], now=at)
    counted = [recount(row.pk, now=at) for row in wholes]
    return [*ended, *(changed for changed in counted if changed is not None)]


def _sorted(topics: Iterable[str]) -> tuple[list[UUID], list[Any], list[str]]:
    tasks: list[UUID] = []
    users: list[Any] = []
    sessions: list[str] = []
    to_pk = TaskState._meta.get_field("owner").target_field.to_python
    for topic in set(topics):
        try:
            kind, name = parse(topic)
            if kind == "task":
                tasks += ids_among([name])
            elif kind == "user":
                users.append(to_pk(name))
            elif kind == "session":
                sessions.append(name)
        except (InvalidTopic, ValidationError):
            continue  # Nobody can follow it, so nothing is found for it.
    return tasks, users, sessions


def _any_of(**lookups: list[Any]) -> Q:
    found = Q()
    for lookup, values in lookups.items():
        if values:
            found |= Q(**{lookup: values})
    return found
