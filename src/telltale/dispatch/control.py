"""What people may ask of a task that was started: cancel it, run it again."""

import logging
from functools import partial
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from telltale import conf, store
from telltale.core.states import RETRIABLE, State
from telltale.core.topics import CANCELLATIONS
from telltale.core.wire import Envelope
from telltale.dispatch.enqueue import enqueue_failed, has_begun, new_runner_id
from telltale.dispatch.registry import by_name
from telltale.dispatch.runner import Revokes, Runner, Terminates
from telltale.messages import announce
from telltale.models import TaskState
from telltale.owners import Owner, owned_by

logger = logging.getLogger(__name__)


class CannotRetry(Exception):
    """A task can't be run again; the message says why, in words for people."""


def cancel(task: TaskState, *, force: bool = False) -> bool:
    """Ask for the task's end; False if it has ended. What has not begun never will; what runs is asked to stop.

    `force`: where the runner can, it also ends a run that does not listen. Repeating it is harmless.
    """
    changed = store.request_cancel(task.pk)
    if changed is None:
        return False
    announce([*changed.envelopes, Envelope(topics=(CANCELLATIONS,), cancel=str(task.pk))])
    for part in store.open_members(task):
        cancel(part, force=force)
    transaction.on_commit(partial(_tell_runner, task.pk, force=force), using=conf.settings().database)
    return True


def _tell_runner(task_id: UUID, *, force: bool) -> None:
    """The row says that it is cancelled, which every worker heeds; the runner may spare one the waking."""
    row = TaskState.objects.using(conf.settings().database).filter(pk=task_id).first()
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
        logger.warning("%s can't take back %s, which stops by itself when it begins: %r", runner.name, row.pk, error)


def why_no_retry(task: TaskState) -> str | None:
    """Why the task can't be run again, in words for people; None if it can."""
    if State(task.state) not in RETRIABLE:
        return _("This task has not failed, so there is nothing to run again.")
    if not _is_findable(task):
        return _("This task can only be run again from where it was started.")
    if not _has_input(task):
        return _("This task's input was not kept, so start it anew.")
    return None


def is_repeatable(task: TaskState) -> bool:
    """Whether it could be run again from here, were it to fail; what is shown before it does depends on that."""
    return _is_findable(task) and _has_input(task)


def _is_findable(task: TaskState) -> bool:
    runner = by_name(task.runner)
    return runner is not None and runner.find(task.name) is not None


def _has_input(task: TaskState) -> bool:
    return task.call.get("args") is not None


def retry(task: TaskState) -> TaskState:
    """Queue the next attempt of a task that failed, was cancelled or was lost; returns its fresh row.

    Raises `CannotRetry`, or `EnqueueFailed` if the runner can't take it; then the attempt has failed.
    """
    reason = why_no_retry(task)
    runner = by_name(task.runner)
    if reason is not None or runner is None:
        raise CannotRetry(reason or "")
    runner_id = new_runner_id(runner)
    changed = store.requeue(task.pk, runner_id=runner_id)
    if changed is None:
        raise CannotRetry(_("Somebody has started this task again already."))
    announce(changed.envelopes)
    transaction.on_commit(
        partial(_hand_over_again, runner, task, changed.snapshot.attempt, runner_id), using=conf.settings().database
    )
    task.refresh_from_db()
    return task


def _hand_over_again(runner: Runner, row: TaskState, attempt: int, runner_id: str | None) -> None:
    task, call = runner.find(row.name), row.call
    try:
        with owned_by(Owner(user_id=row.owner_id, session=row.session)):
            args, kwargs = call["args"], call.get("kwargs") or {}
            known_id = runner.enqueue(task, args, kwargs, task_id=row.pk, runner_id=runner_id)
    except BaseException as error:
        if has_begun(row.pk):
            raise
        # The row stays: it tells of the attempts before.
        words = _("It could not be started.")
        ended = store.end(row.pk, attempt, State.FAILED, error=words, detail=repr(error))
        announce(ended.envelopes if ended else [])
        raise enqueue_failed(runner, task, error) from error
    if known_id != runner_id:
        store.set_runner_id(row.pk, known_id)
