"""Permissions: a visitor may follow their own topics and tasks, shared tasks that they joined, and what a hook allows.

Without a hook no other visitor sees a task; superusers are no exception. `TELLTALE["CAN_FOLLOW"]` is the dotted path of
the hook, `(request, topic) -> bool`. It is called for every topic that is not the visitor's own, also for anonymous
visitors and behind `LoginRequiredMiddleware`. Called by the views and template tags.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.module_loading import import_string

from telltale import brokers, conf, store
from telltale.core.topics import InvalidTopic, parse, parse_open, task_topic
from telltale.live import tickets
from telltale.models import TaskState
from telltale.owners import Owner

Hook = Callable[[HttpRequest, str], bool]


def followable(request: HttpRequest, topics: Iterable[str]) -> list[str]:
    """Return the topics that the visitor may follow, in their order, without duplicates; at most two queries.

    Malformed topics, unknown ones and those of other owners are left out.
    """
    valid = [topic for topic in dict.fromkeys(topics) if _is_topic(topic)]
    own = _own_topics(Owner.of(request), valid)
    return [topic for topic in valid if topic in own or _hook_allows(request, topic)]


def is_owner(request: HttpRequest, task: TaskState) -> bool:
    """Whether the visitor owns the task. Only its owner may cancel it or run it again."""
    return Owner.of(request).owns(task)


def may_see(request: HttpRequest, task: TaskState) -> bool:
    """Whether the visitor may see the task: as its owner, because they joined it, or because the hook allows it."""
    return is_owner(request, task) or _has_joined(request, task) or _hook_allows(request, task_topic(task.pk))


def _has_joined(request: HttpRequest, task: TaskState) -> bool:
    return task.is_shared and bool(store.followed_ids(Owner.of(request), [task.pk]))


def _own_topics(owner: Owner, topics: Iterable[str]) -> set[str]:
    if owner.topic is None:
        return set()
    own = set(owner.topics)
    ids = {topic: UUID(name) for topic in topics for kind, name in [parse(topic)] if kind == "task" and _is_id(name)}
    if not ids:
        return own
    # By their ids alone: with the owner in the condition, SQLite would read all tasks of the owner.
    rows = store.task_rows().filter(pk__in=ids.values()).only("owner", "session", "is_shared")
    own_ids = {row.pk for row in rows if owner.owns(row)}
    own_ids |= store.followed_ids(owner, [row.pk for row in rows if row.is_shared and row.pk not in own_ids])
    return own | {topic for topic, pk in ids.items() if pk in own_ids}


def _hook_allows(request: HttpRequest, topic: str) -> bool:
    path = conf.settings().can_follow
    return path is not None and bool(_hook(path)(request, topic))


@cache
def _hook(path: str) -> Hook:
    hook: Hook = import_string(path)
    return hook


def _is_topic(topic: object) -> bool:
    try:
        return isinstance(topic, str) and bool(parse_open(topic))
    except InvalidTopic:
        return False


def _is_id(name: str) -> bool:
    # Topics use the canonical form of an id; nothing is published under another spelling.
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTicket:
    """A signed ticket, with its topics and its expiry in readable form."""

    ticket: str
    topics: frozenset[str]
    expires_at: float
    """In seconds since 1970."""

    def to_json(self) -> dict[str, Any]:
        """Return it as the view `ticket` sends it."""
        topics = sorted(self.topics)
        # Worked out here, so that pages need not know the rule for channels and its settings.
        channels = brokers.channels(topics)
        more = {} if channels is None else {"channels": channels}
        return {"ticket": self.ticket, "topics": topics, "expires_at": self.expires_at, **more}


def page_ticket(request: HttpRequest, task_ids: Iterable[UUID | str] = ()) -> PageTicket:
    """Return the ticket for a page: the visitor's own topic, and the tasks of `task_ids` that they may follow."""
    topics = [*Owner.of(request).topics, *(task_topic(task_id) for task_id in task_ids)]
    return ticket_for(request, topics[: tickets.MAX_TOPICS])


def ticket_for(request: HttpRequest, requested: Iterable[str]) -> PageTicket:
    """Return a ticket for the requested topics that the visitor may follow; the others are left out.

    `request`: Django's, or a wrapper around it. A program sends `ticket` to the live address (docs/protocol.md).
    A page that was opened before a sign-in asks for its session's topic: it gets the user's topic as well.
    """
    now, owner, requested = store.now(), Owner.of(request), list(requested)
    topics = followable(request, requested)
    if owner.user_id is not None and owner.topic not in topics and _has_signed_in(requested):
        topics = [*owner.topics, *topics][: tickets.MAX_TOPICS]
    text = tickets.issue(topics, follower=owner.topic or "", now=now)
    return PageTicket(ticket=text, topics=frozenset(topics), expires_at=tickets.expires_at(now=now))


def _has_signed_in(requested: Iterable[str]) -> bool:
    """Whether a session's topic is requested whose tasks were handed over, if it had any.

    A session that still owns tasks is another's, or has ended: the page shows what the user may not follow.
    """
    names = [name for topic in requested if _is_topic(topic) for kind, name in [parse(topic)] if kind == "session"]
    return bool(names) and not store.owns_tasks(names)
