"""The list of a person's messages: all notices that are kept, shown or not, the newest first.

A page of the list begins after the last message of the page before it, so that its cost does not depend on how many
messages are newer. `pruning` deletes what the settings no longer keep.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

from django.db.models import Q

from telltale.models import StoredNotice
from telltale.owners import Owner
from telltale.store.clock import or_now
from telltale.store.rows import notice_rows
from telltale.store.write_on_read import write_on_read

MESSAGES_LISTED: Final = 50
"""How many messages a page of the list holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePlace:
    """The place of a message in the list. `str` gives a text for URLs, which `parse` reads."""

    created_at: float
    id: UUID

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the place that the text stands for; None if it stands for none."""
        created_at, _comma, notice_id = text.partition(",")
        try:
            place = cls(created_at=float(created_at), id=UUID(notice_id))
        except ValueError:
            return None
        return place if math.isfinite(place.created_at) else None

    def __str__(self) -> str:
        return f"{self.created_at!r},{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageList:
    """A page of the list."""

    messages: list[StoredNotice]
    """The newest first. `shown_at` is None for those that were not shown before."""
    older: MessagePlace | None = None
    """Where the next page begins; None if there are no older messages."""


def list_messages(owner: Owner, *, before: MessagePlace | None = None, limit: int = MESSAGES_LISTED) -> MessageList:
    """Return the newest `limit` messages of this user or session, or those after `before`; changes nothing.

    One query for each topic of the owner: a user has one, and a session has one for each of its names.
    """
    rows = [row for topic in owner.topics for row in _newest_of(topic, before, limit + 1)]
    # A stable sort: the database has ordered the messages of one topic and instant.
    rows.sort(key=lambda row: -row.created_at)
    messages = rows[:limit]
    has_older = len(rows) > limit and bool(messages)
    older = MessagePlace(created_at=messages[-1].created_at, id=messages[-1].pk) if has_older else None
    return MessageList(messages=messages, older=older)


def _newest_of(topic: str, before: MessagePlace | None, limit: int) -> list[StoredNotice]:
    rows = notice_rows().filter(topic=topic)
    if before is not None:
        # The first condition is the one that an index can use.
        is_older = Q(created_at__lt=before.created_at) | Q(pk__lt=before.id)
        rows = rows.filter(is_older, created_at__lte=before.created_at)
    return list(rows.order_by("-created_at", "-id")[:limit])


def mark_listed(messages: Collection[StoredNotice], *, now: float | None = None) -> None:
    """A page lists these messages, so they are shown, also those that another page holds in order to show them.

    While the database can't be written they stay as they are, for the next page.
    """
    unseen = [row.pk for row in messages if row.shown_at is None]
    if unseen:
        not_shown = notice_rows().filter(pk__in=unseen, shown_at=None)
        write_on_read(lambda: range(not_shown.update(shown_at=or_now(now))))
