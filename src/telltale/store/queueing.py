"""A task comes into being, or is asked for anew by a person: its queued row is written.

The race: of many that ask under one key at once, one makes the row and the others join it; the unique key decides.
Knows nothing of runners, whose message may be on its way already. Called by `runners`, and by `worker` for what runs
without one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.db import IntegrityError
from django.db.models import F, Q

from telltale.core.snapshot import SHORT_BYTES, bounded
from telltale.core.states import RETRIABLE, State
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.store.clock import instant, now
from telltale.store.columns import AFRESH, open_key_of
from telltale.store.ending import expire, has_lapsed
from telltale.store.rows import TRIES, change_of, equals, in_transaction, task_rows, values_of
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
    due_at: float | None = None,
    now: float | None = None,
) -> Queued:
    """Make the queued row, in the caller's transaction; with a key, join the open task of that name and key.

    `args=None` says that the call can't be kept, so that it can't be run again from here. `due_at`: when it
    is to begin, if not as soon as may be.
    Raises `IntegrityError` if the task or the runner's id has a row already.
    """
    if key is not None and len(key) > KEY_LENGTH:
        raise ValueError(f"The key {key[:40]!r}… has {len(key):,} characters; at most {KEY_LENGTH} are kept: hash it.")
    at = instant(now)
    fresh: dict[str, Any] = {"id": task_id} if task_id else {}
    fresh |= {
        "runner": runner,
        "runner_id": runner_id,
        "name": bounded(name, SHORT_BYTES),
        "label": bounded(str(label) or name, SHORT_BYTES),
        "key": key,
        "open_key": open_key_of(name, key),
        "call": {"args": None if args is None else list(args), "kwargs": dict(kwargs or {})},
        "owner_id": owner.user_id,
        "session": owner.session,
        "due_at": due_at,
        "created_at": at,
    }
    for _try in range(TRIES):
        joined = _joinable(fresh["open_key"], at)
        if joined is not None:
            return Queued(task=joined, joined=True)
        try:
            with in_transaction():
                return Queued(task=task_rows().create(**fresh), joined=False)
        except IntegrityError:
            # Somebody with the same key was quicker and may be joined; anything else is the caller's to hear.
            if _joinable(fresh["open_key"], at) is None:
                raise
    raise IntegrityError(f"The key {key!r} of {name} stayed taken by tasks that end at once.")


def queue_many(
    calls: Sequence[tuple[UUID, str | None, Sequence[Any]]],
    *,
    runner: str,
    name: str,
    label: str,
    owner: Owner,
    now: float | None = None,
) -> list[TaskState]:
    """Make the queued rows of many calls of one task, each (task id, runner's id, arguments), in one statement."""
    same: dict[str, Any] = {"runner": runner, "name": bounded(name, SHORT_BYTES), "label": bounded(label, SHORT_BYTES)}
    same |= {"owner_id": owner.user_id, "session": owner.session, "created_at": instant(now)}
    rows = [
        TaskState(id=task_id, runner_id=runner_id, call={"args": list(args), "kwargs": {}}, **same)
        for task_id, runner_id, args in calls
    ]
    return task_rows().bulk_create(rows)


def _joinable(open_key: str | None, at: float) -> TaskState | None:
    if open_key is None:
        return None
    row = task_rows().filter(open_key=open_key).first()
    if row is None or not has_lapsed(row, at):
        return row
    expire([row.pk], now=at)
    return None


def requeue(task_id: UUID | str, *, runner_id: str | None = None, now: float | None = None) -> Changed | None:
    """A person asks for another attempt; None unless the last one failed, was cancelled or was lost.

    `runner_id`: the runner's next id, where it is known: messages about the old one must not find this attempt.
    None also while another open task has taken its key: that one is the attempt to wait for.
    """
    expire([task_id], now=now)
    row = task_rows().filter(pk=task_id, state__in=values_of(RETRIABLE)).first()
    if row is None:
        return None
    found = task_rows().filter(pk=row.pk, attempt=row.attempt, state=row.state)
    fields = dict(AFRESH) | {"state": State.QUEUED.value, "attempt": row.attempt + 1, "runner_id": runner_id}
    fields |= {"open_key": open_key_of(row.name, row.key), "due_at": instant(now)}
    try:
        with in_transaction():
            return change_of(row.pk) if found.update(**fields) else None
    except IntegrityError:
        return None


def set_runner_id(task_id: UUID | str, runner_id: str) -> None:
    """The runner's id became known. Harmless when repeated."""
    task_rows().filter(~Q(runner_id=runner_id), pk=task_id).update(runner_id=runner_id)


def reschedule(task_id: UUID | str, due_at: float | None) -> Changed | None:
    """The runner said when a task that waits is due; None if it does not wait, or was known to be due then."""
    with in_transaction():
        waiting = task_rows().filter(pk=task_id, state__in=[State.QUEUED.value, State.RETRYING.value])
        if not waiting.exclude(equals("due_at", due_at)).update(due_at=due_at, seq=F("seq") + 1):
            return None
        return change_of(task_id)


def set_queue_status(task_id: UUID | str, *, ahead: int | None, is_listening: bool | None) -> Changed | None:
    """Why it waits; None if it does not, or that was known. Each None is what nobody can tell."""
    with in_transaction():
        waiting = task_rows().filter(pk=task_id, state=State.QUEUED.value)
        same = equals("ahead", ahead) & equals("is_listening", is_listening)
        if not waiting.exclude(same).update(ahead=ahead, is_listening=is_listening, seq=F("seq") + 1):
            return None
        return change_of(task_id)


def count_before(row: TaskState) -> int:
    """How many tasks of the same runner wait that were asked for before it, and are due."""
    earlier = task_rows().filter(runner=row.runner, state=State.QUEUED.value, created_at__lt=row.created_at)
    return earlier.filter(Q(due_at=None) | Q(due_at__lte=now())).count()


def delete_queued(task_id: UUID | str) -> None:
    """The runner could not take it: no row is left that says "queued". One that has begun stays."""
    task_rows().filter(pk=task_id, attempt=1, state=State.QUEUED.value).delete()
