"""Notices: messages for people, kept until a page has shown them. A task's end creates one for its owner.

The race: of many pages that want to show a notice, one may. The UPDATE requires that the notice was not shown before.
"""

from collections.abc import Collection, Iterable
from uuid import UUID

from django.db.models import Q
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from telltale.core.snapshot import bounded
from telltale.core.states import State
from telltale.core.wire import Notice
from telltale.models import StoredNotice, TaskState
from telltale.store.clock import or_now
from telltale.store.rows import database, in_transaction, is_uuid, notice_rows, valid_ids
from telltale.store.write_on_read import write_on_read


def add_notice(
    topic: str, text: str, level: str = "info", url: str | None = None, *, now: float | None = None
) -> Notice:
    """Store a message for the user or session of `topic`, until it is shown."""
    stored = StoredNotice(topic=topic, text=bounded(text), level=level, url=url, created_at=or_now(now))
    stored.save(using=database(), force_insert=True)
    return stored.notice


def take_notice(notice_id: UUID | str, topics: Iterable[str], *, now: float | None = None) -> bool:
    """Take a notice in order to show it: True for the first page that asks and follows the notice's topic.

    A taken notice counts as shown.
    """
    if not is_uuid(notice_id):
        return False
    not_shown = notice_rows().filter(pk=notice_id, topic__in=list(topics), shown_at=None)
    return not_shown.update(shown_at=or_now(now)) == 1


def take_notices(task_or_topic: UUID | str, *, now: float | None = None) -> list[Notice]:
    """Take all notices of a task (its id) or of a follower (a topic) that were not shown, in order to show them.

    Each is returned once. While the database can't be written, none is: they are kept for later.
    """
    is_topic = isinstance(task_or_topic, str) and ":" in task_or_topic
    wanted = Q(topic=task_or_topic) if is_topic else Q(task_id__in=valid_ids([task_or_topic]))
    instant = or_now(now)
    not_shown = list(notice_rows().filter(wanted, shown_at=None).order_by("created_at"))
    return (write_on_read(lambda: _take(not_shown, instant)) or []) if not_shown else []


def _take(notices: Collection[StoredNotice], instant: float) -> list[Notice]:
    with in_transaction():  # All or none: a notice that was taken but not returned would never be shown.
        return [
            stored.notice
            for stored in notices
            if notice_rows().filter(pk=stored.pk, shown_at=None).update(shown_at=instant)
        ]


def add_end_notice(row: TaskState, instant: float) -> Notice | None:
    """Store the notice of a task's end; None if the task has no owner."""
    if row.owner_topic is None:
        return None
    level, text = _end_text(row)
    url = row.result if row.state == State.SUCCEEDED and row.result else _page_of(row.pk)
    stored = StoredNotice(topic=row.owner_topic, level=level, text=bounded(text), url=url, created_at=instant)
    stored.task, stored.attempt = row, row.attempt
    stored.save(using=database(), force_insert=True)
    return stored.notice


def add_recovery_notice(row: TaskState, instant: float) -> Notice | None:
    """Store a notice that a task goes on, for the owner who has seen that it was lost; None if it has no owner."""
    if row.owner_topic is None:
        return None
    text = _("%(label)s: the connection to the worker is back. The task is still running.") % {"label": row.label}
    stored = StoredNotice(topic=row.owner_topic, level="info", text=bounded(text), url=_page_of(row.pk))
    stored.task, stored.created_at = row, instant
    stored.save(using=database(), force_insert=True)
    return stored.notice


def _end_text(row: TaskState) -> tuple[str, str]:
    """The level and the text."""
    values = {"label": row.label, "error": row.error}
    match State(row.state):
        case State.SUCCEEDED:
            return "success", _("%(label)s: finished.") % values
        case State.CANCELLED:
            return "info", _("%(label)s: cancelled.") % values
        case State.LOST:
            return "warning", _("%(label)s: interrupted before it finished. You can try again.") % values
        case _:
            return "error", (_("%(label)s: %(error)s") if row.error else _("%(label)s: failed.")) % values


def _page_of(task_id: UUID) -> str | None:
    try:
        return reverse("telltale:task", args=[task_id])
    except NoReverseMatch:
        return None
