"""Notices: messages for people, kept until one of their pages has shown them; the words of a task's end among them.

The race: of many pages that ask to show a notice, one may; the UPDATE is conditional on its not having been shown.
Must not know who follows what. Called by `messages` and `web`, and for the notice of an end by `closing`.
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
from telltale.store.by_reader import write_for_reader
from telltale.store.clock import instant
from telltale.store.rows import database, ids_among, in_transaction, is_id, notice_rows


def add_notice(
    topic: str, text: str, level: str = "info", url: str | None = None, *, now: float | None = None
) -> Notice:
    """Keep a message for whom `topic` stands for, until shown."""
    stored = StoredNotice(topic=topic, text=bounded(text), level=level, url=url, created_at=instant(now))
    stored.save(using=database(), force_insert=True)
    return stored.notice


def take_notice(notice_id: UUID | str, topics: Iterable[str], *, now: float | None = None) -> bool:
    """Whether the asking page may show the notice: true once, for a page that follows its topic."""
    if not is_id(notice_id):
        return False
    waiting = notice_rows().filter(pk=notice_id, topic__in=list(topics), shown_at=None)
    return waiting.update(shown_at=instant(now)) == 1


def take_notices(of: UUID | str, *, now: float | None = None) -> list[Notice]:
    """Take all that wait of a task (its id) or for a follower (a topic): each is handed out once, to be shown.

    None are handed out while the database can't be written: they wait on.
    """
    about = Q(topic=of) if isinstance(of, str) and ":" in of else Q(task_id__in=ids_among([of]))
    at = instant(now)
    waiting = list(notice_rows().filter(about, shown_at=None).order_by("created_at"))
    return (write_for_reader(lambda: _taken(waiting, at)) or []) if waiting else []


def _taken(waiting: Collection[StoredNotice], at: float) -> list[Notice]:
    with in_transaction():  # All or none: one that was taken and then not handed out would never be shown.
        return [s.notice for s in waiting if notice_rows().filter(pk=s.pk, shown_at=None).update(shown_at=at)]


def tell_owner(row: TaskState, at: float) -> Notice | None:
    if row.owner_topic is None:
        return None
    level, text = _words_of_end(row)
    url = row.result if row.state == State.SUCCEEDED and row.result else _page_of(row.pk)
    stored = StoredNotice(topic=row.owner_topic, level=level, text=bounded(text), url=url, created_at=at)
    stored.task, stored.attempt = row, row.attempt
    stored.save(using=database(), force_insert=True)
    return stored.notice


def _words_of_end(row: TaskState) -> tuple[str, str]:
    about = {"label": row.label, "error": row.error}
    match State(row.state):
        case State.SUCCEEDED:
            return "success", _("%(label)s: done.") % about
        case State.CANCELLED:
            return "info", _("%(label)s: cancelled.") % about
        case State.LOST:
            return "warning", _("%(label)s: stopped without a word. It can be tried again.") % about
        case _:
            return "error", (_("%(label)s: %(error)s") if row.error else _("%(label)s: failed.")) % about


def _page_of(task_id: UUID) -> str | None:
    try:
        return reverse("telltale:task", args=[task_id])
    except NoReverseMatch:
        return None
