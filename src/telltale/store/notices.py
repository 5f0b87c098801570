"""Notices: messages for people, kept until a page has shown them. A task's end creates one for its owner.

The race: of many pages that want to show a notice, one may. The UPDATE requires that the notice was not shown before,
and that no other page holds it.

    waiting ──hold──▶ held ──confirm──▶ shown
       ▲               │                  ▲
       └── HELD_S ─────┘       take ──────┘  (from waiting)

A page holds a notice, shows it, and confirms that it was painted. A page that is closed in between confirms nothing, so
another page may hold the notice after `HELD_S`. A confirmation counts at any time, also after that: it says what a
person has seen.
"""

from collections.abc import Collection, Iterable
from typing import Final
from uuid import UUID

from django.conf import settings as django_settings
from django.db import connections
from django.db.models import Q, QuerySet
from django.urls import NoReverseMatch, get_script_prefix, reverse, set_script_prefix
from django.utils.translation import gettext as _

from telltale.core.labels import shown_label
from telltale.core.snapshot import bounded
from telltale.core.states import State
from telltale.core.wire import Notice
from telltale.models import StoredNotice, TaskState
from telltale.owners import Owner
from telltale.store.clock import or_now
from telltale.store.rows import database, in_transaction, is_uuid, notice_rows, valid_ids
from telltale.store.statements import insert_row
from telltale.store.values import NoticeHold
from telltale.store.write_on_read import write_on_read

HELD_S: Final = 10.0
"""How long a page holds a notice: it shows the notice in the first half, and confirms that in the second."""


HANDING_OVER_S: Final = 300.0
"""How long notices are held while they are handed over to web push, mail or a hook (`push.py`, `unseen.py`)."""

HANDOVER_HOLDER: Final = "handover:"
"""How the holder's name begins while notices are handed over."""

TAKEN_AT_ONCE: Final = 50
"""How many notices a page without scripts shows at most; the others wait for the next page."""


def add_notice(
    topic: str, text: str, level: str = "info", url: str | None = None, *, now: float | None = None
) -> Notice:
    """Store a message for the user or session of `topic`, until it is shown."""
    stored = StoredNotice(topic=topic, text=bounded(text), level=level, url=url, created_at=or_now(now))
    stored.save(using=database(), force_insert=True)
    return stored.notice


def take_notice(notice_id: UUID | str, topics: Iterable[str], *, now: float | None = None) -> bool:
    """Take a notice in order to show it: True for the first that asks and follows the notice's topic.

    A taken notice counts as shown. While a page holds it, it can't be taken.
    """
    if not is_uuid(notice_id):
        return False
    instant = or_now(now)
    free = notice_rows().filter(_is_free(instant), pk=notice_id, topic__in=list(topics))
    return free.update(shown_at=instant) == 1


def hold_notice(notice_id: UUID | str, topics: Iterable[str], holder: str, *, now: float | None = None) -> NoticeHold:
    """Let the page `holder` show a notice, if no other page holds it: until it confirms that, for `HELD_S`.

    A page that asks again, because the answer was lost, holds it anew.
    """
    if not is_uuid(notice_id):
        return NoticeHold(granted=False)
    instant = or_now(now)
    not_shown = notice_rows().filter(pk=notice_id, topic__in=list(topics), shown_at=None)
    is_mine = Q(holder=holder)
    if not_shown.filter(_is_free(instant) | is_mine).update(holder=holder, held_until=instant + HELD_S) == 1:
        return NoticeHold(granted=True, seconds=HELD_S)
    held_until = not_shown.values_list("held_until", flat=True).first()
    if held_until is None:
        return NoticeHold(granted=False)
    return NoticeHold(granted=False, seconds=min(HELD_S, max(0.0, held_until - instant)))


def confirm_notice(notice_id: UUID | str, topics: Iterable[str], holder: str, *, now: float | None = None) -> bool:
    """A page has shown the notice: no page will show it again. Return whether it was not known to be shown before.

    It counts also if `holder` holds the notice no longer, or if its owner has signed in since, which changed the topic.
    """
    if not is_uuid(notice_id):
        return False
    not_shown = notice_rows().filter(Q(topic__in=list(topics)) | Q(holder=holder), pk=notice_id, shown_at=None)
    return not_shown.update(shown_at=or_now(now)) == 1


def take_notices(task_or_topic: UUID | str, *, now: float | None = None) -> list[Notice]:
    """Take all notices of a task (its id) or of a follower (a topic) that were not shown, in order to show them.

    Each is returned once, and none that a page holds. While the database can't be written, none is: they are kept for
    later.
    """
    is_topic = isinstance(task_or_topic, str) and ":" in task_or_topic
    wanted = Q(topic=task_or_topic) if is_topic else Q(task_id__in=valid_ids([task_or_topic]))
    instant = or_now(now)
    free = list(notice_rows().filter(wanted, _is_free(instant)).order_by("created_at"))
    return (write_on_read(lambda: _take(free, instant)) or []) if free else []


def read_waiting(owner: Owner, *, most: int = TAKEN_AT_ONCE, now: float | None = None) -> list[StoredNotice]:
    """Return the newest notices of this user or session that no page has shown or holds, oldest first; takes none."""
    free = notice_rows().filter(_is_free(or_now(now)))
    # PostgreSQL uses the order of an index only if its column of nulls is named, MariaDB only if it is not.
    order = ("-shown_at", "-created_at") if connections[database()].vendor == "postgresql" else ("-created_at",)
    newest = [row for topic in owner.topics for row in free.filter(topic=topic).order_by(*order)[:most]]
    newest.sort(key=lambda row: row.created_at)
    return newest[-most:]


def take_waiting(notices: Collection[StoredNotice], *, now: float | None = None) -> list[Notice]:
    """Take these notices in order to show them; returns those that no other page has taken since they were read.

    While the database can't be written, none is: they are kept for later.
    """
    instant = or_now(now)
    return (write_on_read(lambda: _take(notices, instant)) or []) if notices else []


def _take(notices: Collection[StoredNotice], instant: float) -> list[Notice]:
    with in_transaction():  # All or none: a notice that was taken but not returned would never be shown.
        return [
            stored.notice
            for stored in notices
            if notice_rows().filter(_is_free(instant), pk=stored.pk).update(shown_at=instant)
        ]


def free_rows(instant: float) -> "QuerySet[StoredNotice]":
    """The notices that were not shown, and that neither a page nor a handover holds."""
    return notice_rows().filter(_is_free(instant))


def _is_free(instant: float) -> Q:
    """The condition of notices that were not shown, and that neither a page nor a handover holds."""
    # A hold that ends much later than any can was taken before the clock was put back. Not a little later: the instants
    # of two processes may differ by some seconds.
    is_handed_over = Q(holder__startswith=HANDOVER_HOLDER, held_until__lte=instant + 2 * HANDING_OVER_S)
    is_held = Q(held_until__gt=instant) & (Q(held_until__lte=instant + 2 * HELD_S) | is_handed_over)
    return Q(shown_at=None) & (Q(held_until=None) | ~is_held)


def add_end_notice(row: TaskState, instant: float) -> Notice | None:
    """Store the notice of a task's end; None if the task has no owner."""
    if row.owner_topic is None:
        return None
    level, text = _end_text(row)
    url = row.result if row.state == State.SUCCEEDED and row.result else _page_of(row.pk)
    stored = StoredNotice(topic=row.owner_topic, level=level, text=bounded(text), url=url, created_at=instant)
    stored.task, stored.attempt = row, row.attempt
    insert_row(stored)
    return stored.notice


def revoke_end_notice(row: TaskState, attempt: int, instant: float, *, is_told: bool = True) -> Notice | None:
    """Take back the notice of an attempt's end, because the task goes on.

    Call it in the transaction that reopens the task. The notice is deleted if no page has shown or holds it. Else, if
    `is_told`, a second one says that the task goes on, and is returned.
    """
    of_attempt = notice_rows().filter(task=row, attempt=attempt)
    deleted, _by_model = of_attempt.filter(_is_free(instant)).delete()
    return _add_recovery_notice(row, instant) if is_told and not deleted and of_attempt.exists() else None


def _add_recovery_notice(row: TaskState, instant: float) -> Notice | None:
    """Store a notice that a task goes on, for the owner who has seen that it was lost; None if it has no owner."""
    if row.owner_topic is None:
        return None
    text = _("%(label)s: the connection to the worker is back. The task is still running.") % {"label": _label_of(row)}
    stored = StoredNotice(topic=row.owner_topic, level="info", text=bounded(text), url=_page_of(row.pk))
    stored.task, stored.created_at = row, instant
    stored.save(using=database(), force_insert=True)
    return stored.notice


def _end_text(row: TaskState) -> tuple[str, str]:
    """The level and the text."""
    values = {"label": _label_of(row), "error": row.error}
    match State(row.state):
        case State.SUCCEEDED if row.cancel_requested:
            return "success", _("%(label)s: finished. It was asked to stop, but ran on.") % values
        case State.SUCCEEDED:
            return "success", _("%(label)s: finished.") % values
        case State.CANCELLED:
            return "info", _("%(label)s: stopped.") % values
        case State.LOST:
            return "warning", _("%(label)s: interrupted before it finished. You can try again.") % values
        case _:
            return "error", (_("%(label)s: %(error)s") if row.error else _("%(label)s: failed.")) % values


def _label_of(row: TaskState) -> str:
    return shown_label(row.label, row.name) or _("Task")


def _page_of(task_id: UUID) -> str | None:
    """The address of the task's page. Django's prefix is set for the main thread, not for others, which end tasks."""
    prefix = get_script_prefix()
    set_script_prefix(django_settings.FORCE_SCRIPT_NAME or prefix)
    try:
        return reverse("telltale:task", args=[task_id])
    except NoReverseMatch:
        return None
    finally:
        set_script_prefix(prefix)
