"""Who may follow what: what is your own, and what the site's hook shares with you. Nothing else.

Owner-only is the default, for superusers too. The hook, `TELLTALE["CAN_FOLLOW"]`, is a dotted path of
`(request, topic) -> bool`; it is asked for every topic that is not the asker's own, and for anonymous visitors too,
also behind `LoginRequiredMiddleware`. Called by `tickets` and `views`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from django.http import HttpRequest
from django.utils.module_loading import import_string

from telltale import conf, store
from telltale.core.topics import InvalidTopic, parse, task_topic
from telltale.live import tickets
from telltale.models import TaskState
from telltale.owners import Owner

Hook = Callable[[HttpRequest, str], bool]


def followable(request: HttpRequest, topics: Iterable[str]) -> list[str]:
    """Those of `topics` that the asker may follow, in their order, once each; at most one query.

    What is malformed, unknown or another's is left out alike.
    """
    wanted = [topic for topic in dict.fromkeys(topics) if _is_topic(topic)]
    own = _own(Owner.of(request), wanted)
    return [topic for topic in wanted if topic in own or _is_shared(request, topic)]


def is_owner(request: HttpRequest, task: TaskState) -> bool:
    """Whether the asker is whom the task belongs to: they may also cancel it and run it again."""
    return Owner.of(request).owns(task)


def may_see(request: HttpRequest, task: TaskState) -> bool:
    """Whether the asker may look at the task."""
    return is_owner(request, task) or _is_shared(request, task_topic(task.pk))


def _own(owner: Owner, topics: Iterable[str]) -> set[str]:
    if owner.topic is None:
        return set()
    ids = {topic: UUID(name) for topic in topics for kind, name in [parse(topic)] if kind == "task" and _is_id(name)}
    if not ids:
        return {owner.topic}
    found = set(store.task_rows_of(owner).filter(pk__in=ids.values()).values_list("pk", flat=True))
    return {owner.topic, *(topic for topic, pk in ids.items() if pk in found)}


def _is_shared(request: HttpRequest, topic: str) -> bool:
    path = conf.settings().can_follow
    return path is not None and bool(_hook(path)(request, topic))


@cache
def _hook(path: str) -> Hook:
    hook: Hook = import_string(path)
    return hook


def _is_topic(topic: object) -> bool:
    try:
        return isinstance(topic, str) and bool(parse(topic))
    except InvalidTopic:
        return False


def _is_id(name: str) -> bool:
    # Only the one form that is published: another spelling of the same id would hear nothing.
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTicket:
    """A ticket and what it says, for those who can't read it themselves."""

    ticket: str
    topics: frozenset[str]
    expires_at: float


def for_page(request: HttpRequest, task_ids: Iterable[UUID | str] = ()) -> PageTicket:
    """The ticket that a page is rendered with: the asker's own topic, and those of `task_ids` they may see."""
    own = Owner.of(request).topic
    wanted = [*([own] if own else []), *(task_topic(task_id) for task_id in task_ids)]
    return for_asker(request, wanted[: tickets.MAX_TOPICS])


def for_asker(request: HttpRequest, wanted: Iterable[str]) -> PageTicket:
    """A ticket for those of `wanted` that the asker may follow; the others are left out."""
    now, topics = store.now(), followable(request, wanted)
    text = tickets.issue(topics, follower=Owner.of(request).topic or "", now=now)
    return PageTicket(ticket=text, topics=frozenset(topics), expires_at=tickets.expires_at(now=now))
