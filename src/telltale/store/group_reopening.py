"""Reopens a group that ended because a member was presumed lost, when that member comes back.

The member's worker has taken it back, or its runner has delivered it again. The group goes on under its next attempt
number, so that it supersedes its own end, as a task does that is taken back.
"""

import logging
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connections
from django.db.models import F

from telltale.core.states import State
from telltale.models import TaskState
from telltale.store.clock import or_now
from telltale.store.groups import long_lease, recount
from telltale.store.notices import revoke_end_notice
from telltale.store.past_attempts import past_attempts
from telltale.store.rows import database, in_transaction, task_rows, values_of
from telltale.store.values import Changed

logger = logging.getLogger(__name__)

_BAD = values_of([State.FAILED, State.LOST, State.CANCELLED])


def reopen_group(member: TaskState, *, now: float | None = None) -> Changed | None:
    """Reopen the group of a member that runs again; None if it has none, or another member keeps it failed.

    Call it after the member's own change is committed: of two that come back at once, one must see both. Never raises:
    the member has begun, whatever becomes of its group.
    """
    if member.group_id is None:
        return None
    try:
        return _reopened(member, member.group_id, or_now(now))
    except DatabaseError:
        if connections[database()].in_atomic_block:
            raise
        logger.exception("The group of task %s can't be reopened.", member.pk)
        return None


def _reopened(member: TaskState, group_id: UUID, instant: float) -> Changed | None:
    with in_transaction():
        group = task_rows().filter(pk=group_id, state=State.FAILED.value).first()
        others = task_rows().filter(group_id=group_id, state__in=_BAD).exclude(pk=member.pk)
        if group is None or others.filter(step__lte=member.step).exists() or not _reopen(group, instant):
            return None
        # Those of later steps ended with the group, before they began.
        ended_with_it = task_rows().filter(group_id=group.pk, step__gt=member.step, started_at=None)
        ended_with_it.filter(state=State.FAILED.value).update(
            state=State.QUEUED.value, attempt=F("attempt") + 1, seq=0, ended_at=None
        )
        ended_attempt = group.attempt
        group.refresh_from_db(using=database())
        notice = revoke_end_notice(group, ended_attempt, instant)
    return _counted(group, notice, instant)


def _reopen(group: TaskState, instant: float) -> bool:
    failed = task_rows().filter(pk=group.pk, attempt=group.attempt, state=State.FAILED.value)
    columns: dict[str, Any] = {
        "attempt": group.attempt + 1,
        "past_attempts": past_attempts(group, next_at=instant, is_continued=True),
        "seq": group.seq + 1,
        "state": State.RUNNING.value,
        "ended_at": None,
        "error": None,
        "moved_at": instant,
        **long_lease(instant),
    }
    return bool(failed.update(**columns))


def _counted(group: TaskState, notice: Any, instant: float) -> Changed:
    changed = recount(group.pk, now=instant)
    snapshot = group.snapshot if changed is None else changed.snapshot
    return Changed(snapshot=snapshot, topics=group.topics, notice=notice)
