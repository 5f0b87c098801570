"""What people can do with a task that was started: cancel it, and retry it (run it again)."""

import logging
from functools import partial
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from telltale import conf, store
from telltale.core.health import MISSING_S, may_be_lost
from telltale.core.states import RETRIABLE, State
from telltale.core.topics import CANCELLATIONS
from telltale.core.wire import Envelope
from telltale.dispatch.registry import by_name
from telltale.dispatch.runner import PendingCall, Revokes, Runner, Terminates, new_runner_id, start_by
from telltale.dispatch.submit import submit
from telltale.messages import announce
from telltale.models import TaskState

logger = logging.getLogger(__name__)


class CannotRetry(Exception):
    """The task can't be run again. The message is the reason, as a text for people."""


# Cancel


def cancel(task: TaskState, *, force: bool = False) -> bool:
    """Cancel a waiting task, or request the cancellation of a running one. False if the task has ended.

    `force`: also terminate a run that does not check for cancellation, if the runner can. May be repeated.
    """
    changed = store.request_cancel(task.pk)
    if changed is None:
        return False
    announce([*changed.envelopes, Envelope(topics=(CANCELLATIONS,), cancel=str(task.pk))])
    for member in store.open_members(task):
        cancel(member, force=force)
    transaction.on_commit(partial(_cancel_at_runner, task.pk, force=force), using=conf.settings().database)
    return True


def _cancel_at_runner(task_id: UUID, *, force: bool) -> None:
    """Revoke the waiting task, or terminate the running one. Every worker checks the row, so this may fail."""
    row = store.task_rows().filter(pk=task_id).first()
    runner = by_name(row.runner) if row is not None else None
    if row is None or runner is None or row.runner_id is None:
        return
    task = runner.find(row.name)
    try:
        if row.ended_at is not None and row.started_at is None and isinstance(runner, Revokes):
            runner.revoke(task, row.runner_id)
        elif row.ended_at is None and force and isinstance(runner, Terminates):
            runner.terminate(task, row.runner_id)
    except Exception as error:
        logger.warning(
            "%s can't revoke or terminate task %s: %r. A worker that begins it stops at once.",
            runner.name,
            row.pk,
            error,
        )


# Retry


def retry(task: TaskState) -> TaskState:
    """Queue the next attempt of a task that failed, was cancelled, was lost, or may have been lost while it waited.

    Returns its row as it is then.

    Raises `CannotRetry`. Raises `EnqueueFailed` if the runner can't take the task; then the new attempt has failed.
    """
    reason = why_no_retry(task)
    runner = by_name(task.runner)
    if reason is not None or runner is None:
        raise CannotRetry(reason or "")
    missing = store.end_missing(task.pk, missing_s=MISSING_S)
    announce(missing.envelopes if missing else [])
    runner_id = new_runner_id(runner)
    deadline = start_by(runner, runner.find(task.name), now=store.now())
    changed = store.requeue(task.pk, runner_id=runner_id, start_by=deadline)
    if changed is None:
        raise CannotRetry(_("This task has already been started again."))
    announce(changed.envelopes)
    transaction.on_commit(
        partial(_submit_again, runner, task, changed.snapshot.attempt, runner_id), using=conf.settings().database
    )
    task.refresh_from_db(using=conf.settings().database)  # A router may send other reads to a replica, which lags.
    return task


def _submit_again(runner: Runner, row: TaskState, attempt: int, runner_id: str | None) -> None:
    def end_as_failed(task_id: UUID, error: BaseException) -> None:
        # The row is not deleted, because it also stands for the attempts before.
        message = _("The task couldn't be started.")
        changed = store.end(task_id, attempt, State.FAILED, error=message, detail=repr(error))
        announce(changed.envelopes if changed else [])

    args, kwargs = store.call_arguments(row.call) or ((), {})
    call = PendingCall(args=args, kwargs=kwargs, task_id=row.pk, runner_id=runner_id)
    submit(runner, runner.find(row.name), call, owner=row.belongs_to, undo=end_as_failed)


def why_no_retry(task: TaskState) -> str | None:
    """Why the task can't be run again, as a text for people; None if it can."""
    if State(task.state) not in RETRIABLE and not may_be_lost(task.snapshot, now=store.now()):
        return _("Only a task that failed, was stopped or was interrupted can be run again.")
    if not _is_known_here(task):
        return _("This task can only be run again from where it was started.")
    if not _has_stored_arguments(task):
        return _("This task's input was not stored. Start a new task.")
    return None


def is_repeatable(task: TaskState) -> bool:
    """Whether the task could be retried if it failed. Pages decide by this what they show before it ends."""
    return _is_known_here(task) and _has_stored_arguments(task)


def _is_known_here(task: TaskState) -> bool:
    runner = by_name(task.runner)
    return runner is not None and runner.find(task.name) is not None


def _has_stored_arguments(task: TaskState) -> bool:
    return store.call_arguments(task.call) is not None
