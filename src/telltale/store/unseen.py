"""Notices that no page has shown for a while, and that are handed over to mail or a hook.

The claim is that of pages: the notices are held, handed over, and then confirmed as shown, each by a conditional
UPDATE. So a page shows none of them meanwhile or after that, and of two processes one hands over. A process that dies
in between has confirmed nothing: after `HANDING_OVER_S` the notices are free again, for a page or for the next try.
So each is handed over at least once, and twice only if the process dies just after it.
"""

from typing import Final

from django.db.models import QuerySet

from telltale import conf
from telltale.core.topics import USER_PREFIX
from telltale.core.wire import Notice
from telltale.models import StoredNotice
from telltale.store.clock import or_now
from telltale.store.notices import HANDING_OVER_S, HANDOVER_HOLDER, free_rows
from telltale.store.rows import notice_rows

OVERDUE_S: Final = 7 * 86_400.0
"""Notices that should have been handed over longer ago than this are left to pages: a site that begins to hand over
does not send old ones."""

HANDED_OVER_TOGETHER: Final = 50
"""How many notices of a person are handed over at once: the newest that are due."""


def _due_rows(now: float) -> "QuerySet[StoredNotice]":
    latest = now - conf.settings().unseen_after_s
    return free_rows(now).filter(created_at__lte=latest, created_at__gt=latest - OVERDUE_S)


def due_topics(*, now: float | None = None) -> list[str]:
    """Return the topics of users with notices that are due to be handed over."""
    due = _due_rows(or_now(now)).filter(topic__startswith=USER_PREFIX)
    return list(due.order_by().values_list("topic", flat=True).distinct())


def hold_due(topic: str, key: str, *, now: float | None = None) -> list[Notice]:
    """Hold the due notices of a user for `HANDING_OVER_S`, and return them, oldest first.

    `key`: names this process and this call; no other uses it.
    """
    instant = or_now(now)
    return hold_rows(_due_rows(instant).filter(topic=topic), key, now=instant)


def hold_rows(due: "QuerySet[StoredNotice]", key: str, *, now: float | None = None) -> list[Notice]:
    """Hold those of these notices of one person that are free, as `hold_due` does, and return them, oldest first."""
    instant = or_now(now)
    ids = list(due.order_by("-created_at").values_list("pk", flat=True)[:HANDED_OVER_TOGETHER])
    holder = HANDOVER_HOLDER + key
    free_rows(instant).filter(pk__in=ids).update(holder=holder, held_until=instant + HANDING_OVER_S)
    held = notice_rows().filter(pk__in=ids, holder=holder, shown_at=None).order_by("created_at")
    return [stored.notice for stored in held]


def confirm_handed_over(notices: list[Notice], *, now: float | None = None) -> None:
    """These notices were handed over: no page shows them as new."""
    ids = [notice.id for notice in notices]
    notice_rows().filter(pk__in=ids, shown_at=None).update(shown_at=or_now(now))


def give_back(notices: list[Notice], key: str) -> None:
    """These notices were not handed over: they are free again."""
    held = notice_rows().filter(pk__in=[notice.id for notice in notices], holder=HANDOVER_HOLDER + key, shown_at=None)
    held.update(holder="", held_until=None)
