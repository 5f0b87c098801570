"""Every way to end a task: by its worker, by a person who cancels it, by a lease that expired.

This module says what may end, and from which states; `write_end` decides the race. No scheduler is needed: reading
ends the tasks whose lease expired.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.db.models import F
from django.utils.translation import gettext as _

from telltale.core.snapshot import SHORT_BYTES, TEXT_BYTES, Progress, bounded
from telltale.core.states import State, sources
from telltale.models import TaskState
from telltale.store.clock import or_now
from telltale.store.groups import count_end
from telltale.store.rows import free_ids, in_transaction, is_uuid, read_change, task_rows, valid_ids
from telltale.store.statements import NextSeq
from telltale.store.unsaved import SavedRun, alive_ids
from telltale.store.values import Changed
from telltale.store.write_end import write_end

logger = logging.getLogger(__name__)

DETAIL_BYTES: Final = 65_536


def end(
    task_id: UUID | str,
    attempt: int,
    state: State,
    *,
    seq: int | None = None,
    progress: Progress | None = None,
    stage_times: Sequence[Any] | None = None,
    error: str | None = None,
    detail: str = "",
    reference: str | None = None,
    result: str | None = None,
    return_json: str | None = None,
    label: str | None = None,
    is_owned: bool = True,
    worker: str | None = None,
    now: float | None = None,
) -> Changed | None:
    """End an attempt, once; None if it had ended or a newer attempt began. After None, publish nothing.

    The owner's notice is written in the same transaction. `is_owned=False`: the task has no owner, so there is no
    notice to write, and no transaction is needed. `error`: a text for people; `detail`: for staff. `worker`: only if
    this worker claimed the attempt; empty for an attempt that no worker has claimed.
    """
    fields: dict[str, Any] = {
        "error": None if error is None else bounded(error),
        "detail": bounded(detail, DETAIL_BYTES),
        "reference": reference,
    }
    if seq is not None:
        fields["seq"] = NextSeq(seq)
    if progress is not None:
        fields["progress"] = progress.to_json()
    if stage_times is not None:
        fields["stage_times"] = stage_times
    if result is not None:
        fields["result"] = _link(result)
    if return_json is not None:
        fields["return_json"] = return_json
    if label is not None:
        fields["label"] = bounded(label, SHORT_BYTES)
    return end_if(
        task_id,
        state,
        from_states=sources(state),
        condition={"attempt": attempt} if worker is None else {"attempt": attempt, "worker": worker},
        fields=fields,
        ended_at=or_now(now),
        is_owned=is_owned,
    )


def _link(result: str) -> str | None:
    if bounded(result) == result:
        return result
    # A link that is cut off leads nowhere.
    logger.warning("A result's link is left out, because it has more than %d bytes: %.80r…", TEXT_BYTES, result)
    return None


def request_cancel(task_id: UUID | str, *, now: float | None = None) -> Changed | None:
    """Request that a task is cancelled; None if it has ended or is unknown. Harmless when repeated.

    A task that has not begun ends at once. The worker of a running task learns of the request at its next save.
    """
    if not is_uuid(task_id):
        return None
    ended = end_if(
        task_id,
        State.CANCELLED,
        from_states=sources(State.CANCELLED) - {State.RUNNING},
        fields={"cancel_requested": True},
        ended_at=or_now(now),
    )
    if ended is not None:
        return ended
    with in_transaction():
        running = task_rows().filter(pk=task_id, state=State.RUNNING.value)
        running.filter(cancel_requested=False).update(cancel_requested=True, seq=F("seq") + 1)
        change = read_change(task_id)
    # Between the two statements the task may have been queued again; then cancelling it again will work.
    return change if change and change.snapshot.state is State.RUNNING else None


def is_cancel_requested(task_id: UUID | str) -> bool:
    """Whether the task's cancellation was requested."""
    return task_rows().filter(pk=task_id, cancel_requested=True).exists()


def expire(ids: Iterable[UUID | str] | None = None, *, now: float | None = None) -> list[Changed]:
    """Mark tasks whose lease expired as lost: those in `ids`, or all. A task that no worker began in time has failed.

    Every read calls this, so no scheduler is needed. The condition is part of the UPDATE: a worker that renews its
    lease in between keeps its task. So does one that can't save at the moment and publishes nevertheless (`unsaved`).
    A row that another transaction has locked is left to a later read, because a read waits for no writer.
    """
    instant = or_now(now)
    expired = task_rows().filter(ended_at=None, lease_until__lt=instant)
    if ids is not None:
        expired = expired.filter(pk__in=valid_ids(ids))
    rows = list(expired.values_list("pk", "attempt", "state", "seq", "beat_at"))
    running = [
        (pk, SavedRun(attempt, seq, at or 0.0)) for pk, attempt, state, seq, at in rows if state == State.RUNNING
    ]
    alive = alive_ids(dict(running), instant)
    free = free_ids([pk for pk, *_ in rows])
    changes = [
        _end_unstarted(pk, attempt, instant) if state == State.QUEUED else _end_lost(pk, attempt, instant)
        for pk, attempt, state, *_ in rows
        if pk in free and pk not in alive
    ]
    return [change for change in changes if change is not None]


def _end_lost(pk: UUID, attempt: int, instant: float) -> Changed | None:
    condition = {"attempt": attempt, "lease_until__lt": instant}
    return end_if(pk, State.LOST, from_states=sources(State.LOST), condition=condition, ended_at=instant)


def _end_unstarted(pk: UUID, attempt: int, instant: float) -> Changed | None:
    return end_if(
        pk,
        State.FAILED,
        from_states=frozenset({State.QUEUED}),
        condition={"attempt": attempt, "lease_until__lt": instant},
        fields={"error": _("No worker started this task.")},
        ended_at=instant,
    )


def end_missing(task_id: UUID | str, *, missing_s: float, now: float | None = None) -> Changed | None:
    """End a waiting task that was missing (`set_queue_status`) for `missing_s` as failed; None if it wasn't."""
    instant = or_now(now)
    return end_if(
        task_id,
        State.FAILED,
        from_states=frozenset({State.QUEUED, State.RETRYING}),
        condition={"missing_since__lt": instant - missing_s},
        fields={"error": _("No worker started this task. It may have been lost.")},
        ended_at=instant,
    )


def has_expired(row: TaskState, instant: float) -> bool:
    """Whether the task is open and its lease expired before `instant`."""
    return row.ended_at is None and row.lease_until is not None and row.lease_until < instant


def end_if(
    task_id: UUID | str,
    state: State,
    *,
    from_states: frozenset[State],
    condition: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
    ended_at: float,
    is_owned: bool = True,
) -> Changed | None:
    """End a task that is in one of `from_states` and meets `condition`, and recount its group; None if it doesn't."""
    ended = write_end(
        task_id,
        state,
        from_states=from_states,
        condition=condition or {},
        fields=fields or {},
        ended_at=ended_at,
        is_owned=is_owned,
    )
    if ended is None:
        return None
    row, notice = ended
    # After the task's own end is committed: of two last members that end at once, at least one must see both.
    group = count_end(row, now=ended_at)
    return Changed(snapshot=row.snapshot, topics=row.topics, notice=notice, group=group)
