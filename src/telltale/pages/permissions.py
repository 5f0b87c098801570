"""Permissions: a visitor may follow their own topics and tasks, shared tasks that they joined, and what a hook allows.

Staff with the permission `telltale.view_taskstate` may follow every task, and act on it with `cancel_taskstate` and
`retry_taskstate`. Other visitors need a hook. `TELLTALE["CAN_FOLLOW"]` is the dotted path of one for following,
`(request, topic) -> bool`; `TELLTALE["CAN_ACT"]` of one for acting on a task that the visitor may follow,
`(request, topic, action) -> bool`. They are called for every topic that neither ownership nor a permission allows, also
for anonymous visitors and behind `LoginRequiredMiddleware`. Called by the views and template tags.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal
from uuid import UUID

from django.http import HttpRequest
from django.utils.module_loading import import_string

from telltale import brokers, conf, store
from telltale.authentication import user_of
from telltale.core.topics import InvalidTopic, parse, parse_open, task_topic
from telltale.live import rights, tickets
from telltale.models import TaskState
from telltale.owners import Owner, django_request, note_ticket

FOREIGN_TICKET_S: Final = 60.0
"""A ticket for what is not the visitor's own is valid for at most this long. The hook and the permissions of staff need
a request, so they are asked again with the next ticket, and a permission that was withdrawn ends by then."""

Action = Literal["cancel", "retry"]


def followable(request: HttpRequest, topics: Iterable[str]) -> list[str]:
    """Return the topics that the visitor may follow, in their order, without duplicates.

    Malformed topics, unknown ones and those of other owners are left out. At most two queries; for staff one more, and
    those of their permissions.
    """
    return list(_granted(request, topics))


def _granted(request: HttpRequest, topics: Iterable[str]) -> dict[str, bool]:
    """Return the topics that the visitor may follow, in their order, each with whether it is not their own."""
    valid = [topic for topic in dict.fromkeys(topics) if _is_topic(topic)]
    own = _own_topics(Owner.of(request), valid)
    foreign = [topic for topic in valid if topic not in own]
    for_staff = _topics_for_staff(request, foreign)
    allowed = own | for_staff | {topic for topic in foreign if topic not in for_staff and _can_follow(request, topic)}
    return {topic: topic not in own for topic in valid if topic in allowed}


def is_owner(request: HttpRequest, task: TaskState) -> bool:
    """Whether the visitor owns the task."""
    return Owner.of(request).owns(task)


def may_see(request: HttpRequest, task: TaskState) -> bool:
    """Whether the visitor may see the task: its owner, visitors who joined it, staff, and those whom a hook allows."""
    return (
        is_owner(request, task)
        or _has_joined(request, task)
        or _staff_may(request, "view")
        or _can_follow(request, task_topic(task.pk))
    )


def may_act(request: HttpRequest, task: TaskState, action: Action) -> bool:
    """Whether the visitor may cancel the task or run it again: its owner; staff and those whom a hook allows, if they
    may also see it."""
    return is_owner(request, task) or (
        (_staff_may(request, action) or _can_act(request, task_topic(task.pk), action)) and may_see(request, task)
    )


def _staff_may(request: HttpRequest, action: Action | Literal["view"]) -> bool:
    """Whether the visitor is staff, as for the admin, and has the permission."""
    inner_request = django_request(request)
    user: Any = None if inner_request is None else user_of(inner_request, request)
    return is_staff(user) and bool(user.has_perm(f"telltale.{action}_taskstate"))


def is_staff(user: Any) -> bool:
    """Whether the user, None for a visitor without one, is active staff. A user model need not know either."""
    return bool(getattr(user, "is_staff", False) and getattr(user, "is_active", True))


def _has_joined(request: HttpRequest, task: TaskState) -> bool:
    return task.is_shared and bool(store.followed_ids(Owner.of(request), [task.pk]))


def _own_topics(owner: Owner, topics: Iterable[str]) -> set[str]:
    if owner.topic is None:
        return set()
    own = set(owner.topics)
    ids = _task_ids(topics)
    if not ids:
        return own
    # By their ids alone: with the owner in the condition, SQLite would read all tasks of the owner.
    rows = store.task_rows().filter(pk__in=ids.values()).only("owner", "session", "is_shared")
    own_ids = {row.pk for row in rows if owner.owns(row)}
    own_ids |= store.followed_ids(owner, [row.pk for row in rows if row.is_shared and row.pk not in own_ids])
    return own | {topic for topic, pk in ids.items() if pk in own_ids}


def _topics_for_staff(request: HttpRequest, topics: Iterable[str]) -> set[str]:
    """Those of tasks that exist, for staff who may see all tasks."""
    ids = _task_ids(topics)
    if not ids or not _staff_may(request, "view"):
        return set()
    known_ids = set(store.task_rows().filter(pk__in=ids.values()).values_list("pk", flat=True))
    return {topic for topic, pk in ids.items() if pk in known_ids}


def _task_ids(topics: Iterable[str]) -> dict[str, UUID]:
    """The ids of tasks, by their topics."""
    return {topic: UUID(name) for topic in topics for kind, name in [parse(topic)] if kind == "task" and _is_id(name)}


def _can_follow(request: HttpRequest, topic: str) -> bool:
    path = conf.settings().can_follow
    return path is not None and bool(_hook(path)(request, topic))


def _can_act(request: HttpRequest, topic: str, action: Action) -> bool:
    path = conf.settings().can_act
    return path is not None and bool(_hook(path)(request, topic, action))


@cache
def _hook(path: str) -> Callable[..., bool]:
    hook: Callable[..., bool] = import_string(path)
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
    granted = _granted(request, requested)
    topics, ttl_s = list(granted), conf.settings().ticket_s
    if any(granted.values()):
        ttl_s = min(ttl_s, FOREIGN_TICKET_S)
    if owner.user_id is not None and owner.topic not in topics and _has_signed_in(requested):
        topics = [*owner.topics, *topics][: tickets.MAX_TOPICS]
    text = tickets.issue(topics, follower=owner.topic or "", ttl_s=ttl_s, now=now, **_bearer(request))
    note_ticket(request)
    return PageTicket(ticket=text, topics=frozenset(topics), expires_at=tickets.expires_at(ttl_s, now=now))


def _bearer(request: HttpRequest) -> dict[str, Any]:
    """Return the arguments of `tickets.issue` that say with what the rights end."""
    inner = django_request(request)
    if inner is None:
        return {}
    digests = rights.session_digests(getattr(inner, "session", None))
    return {"bearer": rights.bearer_of(inner, user_of(inner, request)), "session": next(iter(digests), "")}


def _has_signed_in(requested: Iterable[str]) -> bool:
    """Whether a session's topic is requested whose tasks were handed over, if it had any.

    A session that still owns tasks is another's, or has ended: the page shows what the user may not follow.
    """
    names = [name for topic in requested if _is_topic(topic) for kind, name in [parse(topic)] if kind == "session"]
    return bool(names) and not store.owns_tasks(names)
