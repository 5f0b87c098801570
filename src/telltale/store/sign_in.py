"""A sign-in: what an anonymous session owned becomes the user's, also what is on its way to the store meanwhile.

The race: a task may end, or start another, while its owner signs in. Tasks are handed over before notices, and an end
holds its task's row until its notice is stored; so a notice for the session is there when notices are handed over. The
rows keep the session's name: by it, `owner_now` finds the user for values that were made before, such as the owner in
a message of a runner, and pages that were opened before go on. The keys of open tasks become the user's too. If the
user has an open task with that key already, both go on, and the one that was handed over has no key.
"""

from collections.abc import Collection
from typing import Any, Final

from django.db import IntegrityError
from django.db.models import F

from telltale.core.topics import session_topic, user_topic
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.store.columns import open_key_of
from telltale.store.followers import hand_over_followed
from telltale.store.rows import in_transaction, notice_rows, task_rows

HANDED_OVER: Final = 1_000
"""The most tasks, notices and followed tasks that a sign-in hands over: the newest of each."""

WRITTEN_TOGETHER: Final = 100
"""How many open keys one statement writes."""

LOOKED_AT: Final = 10
"""How many of a session's newest tasks are looked at for the user who has them now."""


def hand_over(sessions: Collection[str], user_id: Any) -> bool:
    """Give the user what the sessions of these names own; return whether that was anything. All or nothing."""
    with in_transaction():
        tasks = task_rows().filter(session__in=sessions, owner_id=None)
        newest_ids = list(tasks.order_by("-created_at").values_list("pk", flat=True)[:HANDED_OVER])
        task_count = tasks.filter(pk__in=newest_ids).update(owner_id=user_id) if newest_ids else 0
        if task_count:
            with_key = task_rows().filter(pk__in=newest_ids, owner_id=user_id, open_key__isnull=False, is_shared=False)
            _hand_over_keys(list(with_key.order_by("-created_at")))
        notice_count = _hand_over_notices(sessions, user_id)
        followed_count = hand_over_followed(sessions, user_id, most=HANDED_OVER)
    return task_count + notice_count + followed_count > 0


def _hand_over_notices(sessions: Collection[str], user_id: Any) -> int:
    """Give the user the notices that were not shown, and then those that were: they stay in the list of messages."""
    notices = notice_rows().filter(topic__in=[session_topic(name) for name in sessions])
    waiting_first = notices.order_by(F("shown_at").desc(nulls_first=True), "-created_at")
    newest_ids = list(waiting_first.values_list("pk", flat=True)[:HANDED_OVER])
    return notices.filter(pk__in=newest_ids).update(topic=user_topic(user_id)) if newest_ids else 0


def _hand_over_keys(tasks: list[TaskState]) -> None:
    """Write the open keys of tasks whose owner has changed. Their rows are locked until the transaction ends."""
    if not tasks:
        return
    for task in tasks:
        task.open_key = open_key_of(task.name, task.key, task.belongs_to, is_shared=False)
    try:
        with in_transaction():
            task_rows().bulk_update(tasks, ["open_key"], batch_size=WRITTEN_TOGETHER)
    except IntegrityError:
        for task in tasks:
            _hand_over_key(task)


def _hand_over_key(task: TaskState) -> None:
    row = task_rows().filter(pk=task.pk)
    try:
        with in_transaction():
            row.update(open_key=task.open_key)
    except IntegrityError:
        row.update(key=None, open_key=None)


def owner_now(owner: Owner) -> Owner:
    """Return the owner as of now: if it is a session whose visitor has signed in since, with the user."""
    if not owner.session or owner.user_id is not None:
        return owner
    newest = task_rows().filter(session=owner.session).order_by("-created_at")
    for user_id in newest.values_list("owner_id", flat=True)[:LOOKED_AT]:
        if user_id is not None:
            return Owner(user_id=user_id, session=owner.session)
    return owner


def owns_tasks(sessions: Collection[str]) -> bool:
    """Whether sessions of these names own any task."""
    # In the order of an index: without one, PostgreSQL would rather look for a row in the whole table.
    newest = task_rows().filter(session__in=sessions, owner_id=None).order_by("-created_at")
    return bool(newest.values_list("pk")[:1])
