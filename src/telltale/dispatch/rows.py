"""The row of a call that the runner's own API enqueued (`.delay`, `.enqueue`, an eager mode): find, create, end it.

Used by the runners' hooks and by `tracked`. A row is written at once on the caller's connection, because the runner's
message may be on its way already. The rows of `telltale.enqueue` are written by `enqueue.py`.
"""

import json
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

from django import db
from django.db import DatabaseError, IntegrityError, close_old_connections
from django.utils.translation import gettext as _

from telltale import store
from telltale.core.states import State
from telltale.core.wire import Envelope
from telltale.dispatch.runner import Call
from telltale.messages import announce
from telltale.models import TaskState
from telltale.owners import Owner, current_owner
from telltale.worker.attempt import worker_name
from telltale.worker.reporter import reporter

logger = logging.getLogger(__name__)

POLL_S: Final = 0.05
"""The time between two lookups of a row that may be written after its call began."""


def find_row(call: Call) -> tuple[UUID, Owner] | None:
    """The id and owner of the call's row; None if there is none after `call.row_wait_s`."""
    rows = store.task_rows()
    rows = rows.filter(pk=call.task_id) if call.task_id else rows.filter(runner=call.runner, runner_id=call.runner_id)
    deadline = time.monotonic() + call.row_wait_s
    while True:
        row = rows.values_list("pk", "owner_id", "session").first()
        if row is not None:
            task_id, user_id, session = row
            return task_id, Owner(user_id=user_id, session=session)
        if time.monotonic() >= deadline:
            return None
        time.sleep(POLL_S)


def create_queued_row(call: Call) -> tuple[UUID, Owner]:
    """Write the call's row and publish it; returns its id and owner. Raises `IntegrityError` if the row exists.

    The owner is the call's, or else the current one.
    """
    owner = call.owner or current_owner()
    args, kwargs = storable_arguments(call.args, call.kwargs or {})
    queued = store.queue(
        runner=call.runner,
        runner_id=call.runner_id,
        name=call.name,
        label=call.options.label_for(call.name) if call.options else "",
        task_id=call.task_id,
        args=args,
        kwargs=kwargs,
        owner=owner,
        due_at=call.due_at,
        queue_name=call.queue,
    )
    announce([Envelope(topics=queued.task.topics, snapshot=queued.task.snapshot)])
    return queued.task.pk, owner


def create_row_unless_there(call: Call) -> None:
    """Write the call's row. The process at the other end of the message may have written it first."""
    try:
        with store.time_limit():
            create_queued_row(call)
    except IntegrityError:
        logger.debug("The row of %s %s exists already.", call.runner, call.runner_id)


def complete_row(task_id: UUID, *, runner_id: str, due_at: float | None) -> None:
    """Add to a row what the runner has decided while it enqueued the task: its id, and when the run is due."""
    with store.time_limit():
        store.set_runner_id(task_id, runner_id)
        if due_at is not None:
            store.reschedule(task_id, due_at)


def reschedule(task_id: UUID, due_at: float, *, runner_id: str) -> None:
    """Write when the next attempt is due, in seconds since 1970, and publish it. `runner_id`: that of the message."""
    with store.time_limit():
        changed = store.reschedule(task_id, due_at, runner_id=runner_id)
    announce(changed.envelopes if changed else [])


def find_or_create_row(call: Call) -> tuple[UUID | None, Owner | None]:
    """The id and owner of the call's row, which is created if an eager mode or a failed hook left none.

    The row may also be in a transaction that has yet to commit. Then (None, owner) is returned, and the attempt finds
    the row after that. (None, owner) also if the database is unavailable. Never raises: the run happens in any case.
    """
    if call.carries_row:
        return call.task_id, call.owner  # The claim will find out whether the row exists.
    try:
        with store.time_limit():
            return find_row(call) or _create_row_soon(call)
    except IntegrityError:
        return _find_row_again(call)
    except store.RowLocked:
        return None, call.owner
    except DatabaseError as error:
        logger.warning("The row of %s (%s) can't be read yet: %s", call.name, call.runner_id, error)
        return None, call.owner
    except Exception:
        logger.exception("The row of %s (%s) can't be written.", call.name, call.runner_id)
        return None, call.owner


def _find_row_again(call: Call) -> tuple[UUID | None, Owner | None]:
    try:
        return find_row(call) or (None, call.owner)
    except DatabaseError:
        return None, call.owner  # The attempt looks again.


def _create_row_soon(call: Call) -> tuple[UUID, Owner]:
    """As `create_queued_row`; raises `RowLocked` if the row is in a transaction of the publisher."""
    with store.limited_lock_waits():
        return create_queued_row(call)


def end_from_outside(
    runner: str,
    runner_id: str,
    state: State,
    *,
    pids: Collection[int] = (),
    error: str | None = None,
    detail: str = "",
) -> None:
    """End the attempt that one of these processes of this machine ran, if it is open and current. Never raises.

    For ends that the task's own process cannot write. `pids`: empty if the task's message was discarded before any
    process began it; then only a task that waits is ended. A runner may have delivered the task again, so an attempt
    of another process is never ended. `error`: a text for people; `detail`: a text for staff.
    """
    write = partial(_end_from_outside, runner, runner_id, state, pids=pids, error=error, detail=detail)
    try:
        close_old_connections()
        with store.time_limit():
            write()
    except db.Error as database_error:
        # A task that waits has no lease, so without its end it would wait for ever.
        logger.warning("The end (%s) of %s %s can't be written yet: %s", state, runner, runner_id, database_error)
        reporter().saver.end_later(write)


def _end_from_outside(
    runner: str, runner_id: str, state: State, *, pids: Collection[int], error: str | None, detail: str
) -> None:
    row = store.task_rows().filter(runner=runner, runner_id=runner_id, ended_at=None).first()
    if row is None or not _concerns(pids, row):
        return
    if row.cancel_requested:
        state = State.CANCELLED  # The cancellation was intended; the failure is only its consequence.
    elif row.state == State.QUEUED and state is State.LOST:
        # Killed before the first line of the task: nothing had begun that could be lost.
        state, error = State.FAILED, error or _("The worker was stopped before it started this task.")
    changed = store.end(row.pk, row.attempt, state, error=error, detail=detail, worker=row.worker)
    if changed is not None:
        announce(changed.envelopes)


def _concerns(pids: Collection[int], row: TaskState) -> bool:
    """Whether the row's attempt is that of these processes, or is not begun."""
    if row.state == State.QUEUED or (row.state == State.RETRYING and not pids):
        return True
    return row.worker in {worker_name(pid) for pid in pids}


def storable_arguments(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any] | None, Mapping[str, Any] | None]:
    """The arguments as the row stores them; (None, None) if JSON can't hold them: then it can't be retried."""
    try:
        json.dumps([list(args), dict(kwargs)], allow_nan=False)
    except Exception:
        return None, None  # Whatever an object raises that is no JSON.
    return list(args), dict(kwargs)
