"""Web push subscriptions: the browsers to which a person's notices are sent while no page shows them.

A row belongs to a user or an anonymous session, by its topic, and is valid until the session ends that made it.
A person has at most `MOST_BROWSERS`; a further one takes the place of the one that was used the longest time ago.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db import IntegrityError
from django.db.models import Exists, OuterRef, Q, QuerySet

from telltale.core.push import Subscription
from telltale.core.wire import Notice
from telltale.models import PushSubscription, StoredNotice
from telltale.store.clock import or_now
from telltale.store.notices import free_rows
from telltale.store.rows import in_transaction, push_rows
from telltale.store.unseen import hold_rows

MOST_BROWSERS: Final = 10
"""How many browsers of a person are kept, and how many may be added within a minute."""

MINUTE_S: Final = 60.0

PUSHED_WITHIN_S: Final = 86_400.0
"""A notice that is older than this is not sent any more: it is left to pages and mail."""

FIRST_PAUSE_S: Final = 30.0
MAX_PAUSE_S: Final = 3_600.0
"""After a failure, nothing is sent to this browser for a while: the first time for `FIRST_PAUSE_S`, then for twice as
long with each failure, up to `MAX_PAUSE_S`."""


class TooManyBrowsers(Exception):
    """This person has added `MOST_BROWSERS` within a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushTarget:
    """A browser to send to."""

    id: int
    topic: str
    subscription: Subscription
    auth: str
    """A digest of the user's session auth hash when it was added; empty for an anonymous session."""
    created_at: float


def add_push(
    topic: str,
    subscription: Subscription,
    *,
    auth: str = "",
    session: str = "",
    until: float,
    now: float | None = None,
) -> bool:
    """Add a person's browser, or renew it. False if the address is another browser's. Raises `TooManyBrowsers`.

    `auth`, `session`: digests of the user's session auth hash and of the session's key, if there are these.
    """
    instant = or_now(now)
    columns = {"topic": topic, "auth": auth, "session": session, "used_at": instant, "until": until}
    if _renew(subscription, columns):
        return True
    if push_rows().filter(topic=topic, created_at__gt=instant - MINUTE_S).count() >= MOST_BROWSERS:
        raise TooManyBrowsers
    try:
        with in_transaction():
            push_rows().create(
                digest=subscription.digest,
                endpoint=subscription.endpoint,
                key=subscription.key,
                secret=subscription.secret,
                created_at=instant,
                **columns,
            )
    except IntegrityError:
        # Another request of the same page was faster, or another browser's address was given.
        return _renew(subscription, columns)
    _keep_newest(topic)
    return True


def _renew(subscription: Subscription, columns: Mapping[str, Any]) -> bool:
    """Write the columns of this browser; False if it is not stored."""
    topic, same = columns["topic"], _rows_of(subscription)
    if same.filter(topic=topic).update(**columns):
        return True
    # Of another person until now: as a new browser of this person, who gets no notices from before.
    if same.update(**columns, created_at=columns["used_at"]):
        _keep_newest(topic)
        return True
    return False


def _rows_of(subscription: Subscription) -> "QuerySet[PushSubscription]":
    """The row of this browser. Only that browser knows both keys, whoever is signed in there."""
    return push_rows().filter(digest=subscription.digest, key=subscription.key, secret=subscription.secret)


def _keep_newest(topic: str) -> None:
    """Delete a person's browsers beyond `MOST_BROWSERS`: those that were used the longest time ago."""
    own = push_rows().filter(topic=topic)
    kept = list(own.order_by("-used_at", "-pk").values_list("pk", flat=True)[:MOST_BROWSERS])
    own.exclude(pk__in=kept).delete()


def delete_push(subscription: Subscription) -> None:
    """Delete this browser, if its keys are those that are stored."""
    _rows_of(subscription).delete()


def delete_push_of(*, digests: Collection[str] = (), sessions: Collection[str] = (), topic: str | None = None) -> None:
    """Delete browsers: by digests of their addresses, by digests of their sessions' keys, or all of a person."""
    if digests:
        push_rows().filter(digest__in=list(digests)).delete()
    if sessions:
        push_rows().filter(session__in=list(sessions)).delete()
    if topic:
        push_rows().filter(topic=topic).delete()


def push_topics(after_s: float, *, among: Collection[str] | None = None, now: float | None = None) -> list[str]:
    """Return the topics of people with notices that no page has shown for `after_s`, and with an older browser.

    `among`: of these people only; None: of all.
    """
    instant = or_now(now)
    with_browser = push_rows().filter(until__gt=instant)
    if among is not None:
        with_browser = with_browser.filter(topic__in=list(among))
    # As in `hold_for_push`: what is older than the person's first browser is not for this one.
    reachable = with_browser.filter(topic=OuterRef("topic"), created_at__lt=OuterRef("created_at"))
    due = _due_rows(after_s, instant).filter(Exists(reachable))
    return list(due.order_by().values_list("topic", flat=True).distinct())


def hold_for_push(topic: str, key: str, after_s: float, *, since: float, now: float | None = None) -> list[Notice]:
    """Hold a person's notices that no page has shown for `after_s`, as `hold_due` does.

    `since`: when the person's first browser was added. What came before that is left to pages.
    """
    instant = or_now(now)
    return hold_rows(_due_rows(after_s, instant).filter(topic=topic, created_at__gt=since), key, now=instant)


def _due_rows(after_s: float, instant: float) -> "QuerySet[StoredNotice]":
    return free_rows(instant).filter(created_at__lte=instant - after_s, created_at__gt=instant - PUSHED_WITHIN_S)


def push_targets(topic: str, *, now: float | None = None) -> list[PushTarget]:
    """Return a person's browsers that may be used now, the one that was used last first."""
    instant = or_now(now)
    free = Q(retry_at=None) | Q(retry_at__lte=instant)
    rows = push_rows().filter(free, topic=topic, until__gt=instant).order_by("-used_at", "-pk")
    return [_target(row) for row in rows]


def push_again_in(topics: Collection[str], *, now: float | None = None) -> float | None:
    """Return in how many seconds the first of these people's browsers may be used again; None if none has failed."""
    instant = or_now(now)
    failed = push_rows().filter(topic__in=list(topics), retry_at__gt=instant)
    first = failed.order_by("retry_at").values_list("retry_at", flat=True).first()
    return None if first is None else first - instant


def push_accepted(target: PushTarget, *, now: float | None = None) -> None:
    """Note that the push service has accepted a message for this browser."""
    push_rows().filter(pk=target.id).update(sent_at=or_now(now), failures=0, retry_at=None)


def push_failed(target: PushTarget, *, retry_after_s: float = 0.0, now: float | None = None) -> float:
    """Note that the push service failed, and return for how many seconds nothing is sent to this browser.

    `retry_after_s`: for how long the service asked to be left alone; a day counts at most.
    """
    row = push_rows().filter(pk=target.id)
    failures = row.values_list("failures", flat=True).first() or 0
    pause_s = max(min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 16)), min(PUSHED_WITHIN_S, retry_after_s))
    row.update(failures=failures + 1, retry_at=or_now(now) + pause_s)
    return pause_s


def delete_targets(targets: Iterable[PushTarget]) -> None:
    """Delete browsers that have no subscription any more, or whose users have lost their rights."""
    push_rows().filter(pk__in=[target.id for target in targets]).delete()


def _target(row: PushSubscription) -> PushTarget:
    subscription = Subscription(endpoint=row.endpoint, key=row.key, secret=row.secret)
    return PushTarget(id=row.pk, topic=row.topic, subscription=subscription, auth=row.auth, created_at=row.created_at)
