"""Deletes what the settings no longer keep: ended tasks and shown notices. Tasks that never began end as failed.

With a task go the visitors who joined it. A task whose notice was not shown is kept longer, and so is a member of a
group that has not ended. A worker process calls this now and then, and so does `manage.py telltale prune`.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar
from uuid import UUID

from django.db import connections
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext as _

from telltale import conf, native
from telltale.core.states import State, sources
from telltale.store.clock import or_now
from telltale.store.ending import end_if
from telltale.store.rows import database, follower_rows, in_transaction, notice_rows, push_rows, task_rows
from telltale.store.values import Changed, Pruned

K = TypeVar("K", UUID, int)

PRUNED_AT_ONCE: Final = 1_000
"""How many rows of each kind one call deletes. A worker does other work between two calls."""

DELETED_TOGETHER: Final = 50
"""How many rows share a transaction at most. SQLite locks out all other writers meanwhile."""

TRANSACTION_S: Final = 0.025
"""How long a transaction should take: even if the machine becomes four times as slow, no writer is locked out for
longer than a tenth of a second."""

MAX_PAUSE_S: Final = 0.05
"""The longest pause after a transaction on SQLite, in which others write."""


def prune(*, now: float | None = None, most: int = PRUNED_AT_ONCE) -> Pruned:
    """Give up tasks that never began, and delete what the settings no longer keep; at most `most` of each kind.

    A notice that was not shown is kept for `keep_unseen_s`, and with it its task.
    """
    instant, settings = or_now(now), conf.settings()
    # In two queries, because an OR of the two conditions has no index.
    shown = notice_rows().filter(shown_at__lt=instant - settings.keep_ended_s)
    unseen = notice_rows().filter(shown_at=None, created_at__lt=instant - settings.keep_unseen_s)
    notices = list(shown.order_by("shown_at").values_list("pk", flat=True)[:most])
    notices += unseen.order_by("shown_at", "-created_at").values_list("pk", flat=True)[: most - len(notices)]
    not_shown = notice_rows().filter(task=OuterRef("pk"), shown_at=None).exclude(pk__in=notices)
    old_tasks = Q(ended_at__lt=instant - settings.keep_ended_s)
    # A group counts its members until it ends: one without a row would count as lost.
    open_group = task_rows().filter(pk=OuterRef("group_id"), ended_at=None)
    ended_long_ago = task_rows().filter(~Exists(not_shown), ~Exists(open_group), old_tasks).order_by("ended_at")
    tasks = list(ended_long_ago.values_list("pk", flat=True)[:most])
    _delete_in_batches(notices, lambda ids: notice_rows().filter(pk__in=ids).delete())
    pushes = list(push_rows().filter(until__lt=instant).order_by("until").values_list("pk", flat=True)[:most])
    _delete_in_batches(pushes, lambda ids: push_rows().filter(pk__in=ids).delete())
    of_tasks = follower_rows().filter(task_id__in=tasks).order_by("task_id")
    followers = list(of_tasks.values_list("pk", flat=True)[:most])
    _delete_in_batches(followers, lambda ids: follower_rows().filter(pk__in=ids).delete())
    if len(followers) == most:
        # The next call deletes the tasks whose followers are left.
        left = set(of_tasks.values_list("task_id", flat=True).distinct())
        tasks = [pk for pk in tasks if pk not in left]
    # With the condition again, because a person may have restarted the task in the meantime. Only the ids are read,
    # because other writers wait meanwhile.
    _delete_in_batches(tasks, lambda ids: task_rows().filter(old_tasks, pk__in=ids).only("pk").delete())
    return Pruned(tasks=len(tasks), notices=len(notices), followers=len(followers), given_up=_give_up(instant, most))


def _delete_in_batches(ids: Sequence[K], delete: Callable[[Sequence[K]], object]) -> None:
    """Call `delete` for all ids, in transactions of about `TRANSACTION_S`: each is as large as the last one was fast.

    On SQLite, each is followed by a pause as long as it was, so that others get half of the time.
    """
    connection, start, size = connections[database()], 0, 1
    while start < len(ids):
        with in_transaction():
            began_at = time.monotonic()  # Before this, SQLite may have waited for another writer.
            delete(ids[start : start + size])
        took_s = time.monotonic() - began_at
        start, size = start + size, _next_size(size, took_s)
        if connection.vendor == "sqlite" and not connection.in_atomic_block:
            native.sleep(min(MAX_PAUSE_S, took_s))


def _next_size(size: int, took_s: float) -> int:
    """How many rows to delete after a transaction with `size` rows: at most twice as many."""
    if took_s <= TRANSACTION_S / 2:
        return min(DELETED_TOGETHER, 2 * size)
    return max(1, min(DELETED_TOGETHER, int(size * TRANSACTION_S / took_s)))


def _give_up(instant: float, most: int) -> list[Changed]:
    """End the tasks that have waited for more than `keep_queued_s`, counted from when they were due if known."""
    limit = instant - conf.settings().keep_queued_s
    # All that wait are open, which an index finds however many tasks have ended.
    waiting = task_rows().filter(ended_at=None, state__in=[State.QUEUED.value, State.RETRYING.value])
    queued, retrying = Q(state=State.QUEUED.value), Q(state=State.RETRYING.value)
    overdue = Q(due_at__lt=limit)
    old = ((queued & Q(created_at__lt=limit)) | (retrying & Q(beat_at__lt=limit))) & Q(due_at=None)
    changes = [
        end_if(
            pk,
            State.FAILED,
            from_states=sources(State.FAILED) - {State.RUNNING},
            condition={"attempt": attempt},
            fields={"error": _("No worker started this task.")},
            ended_at=instant,
        )
        for pk, attempt in waiting.filter(overdue | old).values_list("pk", "attempt")[:most]
    ]
    return [change for change in changes if change is not None]
