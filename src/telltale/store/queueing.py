"""Queues tasks: writes the queued row of a new task, or of another attempt that a person requested.

The race: of many calls with one key and owner at once, one creates the row and the others join it. The unique key
decides. A shared task is joined whatever the owner. This module knows nothing of runners; a runner's message may be on
its way already.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.db import IntegrityError
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from telltale import tracing
from telltale.core.snapshot import SHORT_BYTES, bounded
from telltale.core.states import RETRIABLE, State
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.store.calls import call_to_json, storable_key
from telltale.store.clock import now, or_now
from telltale.store.columns import NEW_ATTEMPT, joinable_open_keys, open_key_of
from telltale.store.ending import expire, has_expired
from telltale.store.followers import add_follower
from telltale.store.past_attempts import past_attempts
from telltale.store.rows import MAX_TRIES, equals, in_transaction, read_change, task_rows, valid_ids, values_of
from telltale.store.sign_in import owner_now
from telltale.store.statements import insert_row
from telltale.store.values import Changed, Queued

KEY_LENGTH: Final = 255


def queue(
    *,
    runner: str,
    name: str,
    label: str = "",
    task_id: UUID | None = None,
    runner_id: str | None = None,
    args: Sequence[Any] | None = (),
    kwargs: Mapping[str, Any] | None = None,
    owner: Owner = Owner(),  # noqa: B008 (a value)
    key: str | None = None,
    is_shared: bool = False,
    due_at: float | None = None,
    start_by: float | None = None,
    queue_name: str = "",
    now: float | None = None,
) -> Queued:
    """Create the queued row, in the caller's transaction; with a key, join the owner's open task of that name and key.

    `is_shared`: join the open shared task of that name and key instead, of any owner; `owner` may follow it
    from then on.
    `args=None`: the arguments can't be stored, so the task can't be run again from its page. `due_at`: when the task
    should begin; None for as soon as possible. `start_by`: if no worker has begun it then, it ends as failed; None for
    no such limit. `queue_name`: the runner's queue, if known. Raises `IntegrityError` if `task_id` or the runner's id
    has a row already, `TypeError` if the key is no text, and `ValueError` if it is too long.
    """
    key = None if key is None else _valid_key(key)
    instant, owner = or_now(now), owner_now(owner)
    columns = _columns(runner, name, str(label) or name, owner, start_by, queue_name, instant)
    columns |= {"id": task_id} if task_id else {}
    columns |= {
        "runner_id": runner_id,
        "key": key,
        "open_key": open_key_of(name, key, owner, is_shared=is_shared),
        "is_shared": is_shared and key is not None,
        "call": call_to_json(args, kwargs),
        "due_at": due_at,
    }
    return _join_or_create(joinable_open_keys(name, key, owner, is_shared=is_shared), columns, owner, instant)


def _valid_key(key: str) -> str:
    """The key as the database can store it; raises `TypeError` if it is no text, `ValueError` if it is too long."""
    if not isinstance(key, str):
        raise TypeError(f'The key {key!r:.80} is no text: make it one, such as key=f"import-{{pk}}".')
    key = storable_key(key)
    if len(key) > KEY_LENGTH:
        raise ValueError(
            f"The key {key[:40]!r}… has {len(key):,} characters; a key has at most {KEY_LENGTH}. Use a hash of it."
        )
    return key


def _columns(
    runner: str, name: str, label: str, owner: Owner, start_by: float | None, queue_name: str, instant: float
) -> dict[str, Any]:
    """The columns that all calls of one task share."""
    return {
        "runner": runner,
        "name": bounded(name, SHORT_BYTES),
        "label": bounded(label, SHORT_BYTES),
        "owner_id": owner.user_id,
        "session": owner.session,
        "lease_until": start_by,
        "queue": bounded(queue_name, SHORT_BYTES),
        "trace": tracing.carrier(),
        "created_at": instant,
    }


def _join_or_create(open_keys: Collection[str], columns: Mapping[str, Any], owner: Owner, instant: float) -> Queued:
    for _try in range(MAX_TRIES):
        open_task = _open_task(open_keys, instant)
        if open_task is not None:
            if open_task.is_shared:
                add_follower(open_task, owner)
            return Queued(task=open_task, joined=True)
        try:
            with in_transaction():
                insert_row(task := TaskState(**columns))
                return Queued(task=task, joined=False)
        except IntegrityError:
            # Another call with the same key was faster; then its task can be joined. Any other conflict is an error.
            if _open_task(open_keys, instant) is None:
                raise
    raise IntegrityError(
        f"The key {columns['key']!r} of {columns['name']} was taken by {MAX_TRIES} other tasks in turn, which ended "
        "before they could be joined. Queue the task again."
    )


def queue_many(
    calls: Sequence[tuple[UUID, str | None, Sequence[Any]]],
    *,
    runner: str,
    name: str,
    label: str,
    owner: Owner,
    start_by: float | None = None,
    queue_name: str = "",
    now: float | None = None,
) -> list[TaskState]:
    """Create the queued rows of many calls of one task in one statement. Call: (task id, runner's id, arguments).

    `start_by`, `queue_name` as in `queue`.
    """
    owner = owner_now(owner)
    shared = _columns(runner, name, label, owner, start_by, queue_name, or_now(now))
    rows = [
        TaskState(id=task_id, runner_id=runner_id, call=call_to_json(args, {}), **shared)
        for task_id, runner_id, args in calls
    ]
    return task_rows().bulk_create(rows)


def _open_task(open_keys: Collection[str], instant: float) -> TaskState | None:
    """The open task with one of these keys; None if there is none. One whose lease expired is ended."""
    if not open_keys:
        return None
    row = task_rows().filter(open_key__in=open_keys).first()
    if row is None or not has_expired(row, instant):
        return row
    expire([row.pk], now=instant)
    return None


def requeue(
    task_id: UUID | str, *, runner_id: str | None = None, start_by: float | None = None, now: float | None = None
) -> Changed | None:
    """Queue another attempt, for a person; None unless the last one failed, was cancelled or was lost.

    `runner_id`: the runner's id of the new attempt, if known: messages about the old one must not find this attempt.
    `start_by` as in `queue`. None also if another open task has taken the task's key in the meantime.
    """
    expire([task_id], now=now)
    row = task_rows().filter(pk=task_id, state__in=values_of(RETRIABLE)).first()
    if row is None:
        return None
    # With the owner, because the open key depends on it, and a sign-in may change it.
    unchanged = task_rows().filter(pk=row.pk, attempt=row.attempt, state=row.state, owner_id=row.owner_id)
    columns = dict(NEW_ATTEMPT) | {"state": State.QUEUED.value, "attempt": row.attempt + 1, "runner_id": runner_id}
    columns["open_key"] = open_key_of(row.name, row.key, row.belongs_to, is_shared=row.is_shared)
    instant = or_now(now)
    columns |= {"due_at": instant, "lease_until": start_by, "trace": tracing.carrier()}
    columns["past_attempts"] = past_attempts(row, next_at=instant)
    try:
        with in_transaction():
            return read_change(row.pk) if unchanged.update(**columns) else None
    except IntegrityError:
        return None


def postpone_start_by(ids: Iterable[UUID | str], start_by: float) -> None:
    """Give those of the tasks that wait under a limit (`start_by` of `queue`) more time to begin."""
    waiting = task_rows().filter(pk__in=valid_ids(ids), state=State.QUEUED.value)
    waiting.filter(lease_until__lt=start_by).update(lease_until=start_by)


def set_runner_id(task_id: UUID | str, runner_id: str) -> None:
    """Store the runner's id of the task, once it is known. Harmless when repeated."""
    task_rows().filter(~Q(runner_id=runner_id), pk=task_id).update(runner_id=runner_id)


def reschedule(task_id: UUID | str, due_at: float | None, *, runner_id: str | None = None) -> Changed | None:
    """Store when a waiting task is due, as its runner says; None if it isn't waiting, or nothing changed.

    `runner_id`: only if this is the runner's id of the task.
    """
    with in_transaction():
        waiting = task_rows().filter(pk=task_id, state__in=[State.QUEUED.value, State.RETRYING.value])
        if runner_id is not None:
            waiting = waiting.filter(runner_id=runner_id)
        if not waiting.exclude(equals("due_at", due_at)).update(due_at=due_at, seq=F("seq") + 1):
            return None
        return read_change(task_id)


def set_queue_status(
    task_id: UUID | str,
    *,
    ahead: int | None,
    is_listening: bool | None,
    is_missing: bool = False,
    now: float | None = None,
) -> Changed | None:
    """Store why a task waits: how many tasks are ahead of it, and whether a worker is listening (None: unknown).

    `is_missing`: no worker begins it although nothing is in the way; stored with the time from which that is so. None
    if the task isn't waiting, or nothing changed.
    """
    with in_transaction():
        waiting = task_rows().filter(pk=task_id, state__in=[State.QUEUED.value, State.RETRYING.value])
        same = equals("ahead", ahead) & equals("is_listening", is_listening)
        same &= Q(missing_since__isnull=not is_missing)
        missing_since = Coalesce(F("missing_since"), or_now(now)) if is_missing else None
        columns = {"ahead": ahead, "is_listening": is_listening, "missing_since": missing_since}
        if not waiting.exclude(same).update(**columns, seq=F("seq") + 1):
            return None
        return read_change(task_id)


def count_before(row: TaskState) -> int:
    """How many tasks of the same runner were queued before this one, still wait, and are due."""
    # All that wait are open, which an index finds however many tasks have ended.
    waiting = task_rows().filter(ended_at=None, state=State.QUEUED.value, created_at__lt=row.created_at)
    earlier = waiting.filter(runner=row.runner)
    return earlier.filter(Q(due_at=None) | Q(due_at__lte=now())).count()


def delete_queued(task_id: UUID | str) -> None:
    """Delete the row of a task that the runner could not take. A task that has begun stays."""
    task_rows().filter(pk=task_id, attempt=1, state=State.QUEUED.value).delete()
