"""The actions on a task, as buttons ask for them: cancel, force to stop, run again.

Each raises `ActionRefused` with a text for people. Callers check who may act; `dispatch.control` carries it out.
"""

import logging

from django.db import DatabaseError
from django.utils.translation import gettext as _

from telltale import store
from telltale.core.health import can_cancel
from telltale.dispatch import control
from telltale.dispatch.registry import by_name
from telltale.dispatch.runner import EnqueueFailed, Terminates
from telltale.models import TaskState

logger = logging.getLogger(__name__)


class ActionRefused(Exception):
    """The action is not possible. The message is a text for people."""

    def __init__(self, message: str, *, status: int = 409) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status."""


def cancel_task(task: TaskState, *, force: bool = False) -> TaskState:
    """Request the cancellation and return the task's row as it is then. Raises `ActionRefused`.

    `force`: also terminate a run that does not check for cancellation; only if `can_force`. May be repeated.
    """
    snapshot = task.snapshot
    if snapshot.no_cancel is not None and not snapshot.ended:
        reason = {"reason": snapshot.no_cancel}
        raise ActionRefused(_("This task can't be stopped now: %(reason)s") % reason)
    if snapshot.ended:
        raise ActionRefused(_("This task has already ended, so it can't be stopped."))
    if force and not can_force(task):
        raise ActionRefused(_("The runner of this task can't force it to stop."))
    try:
        is_requested = (force or can_cancel(snapshot)) and control.cancel(task, force=force)
    except DatabaseError as error:
        raise _unsaved(task, error) from error
    return (store.get_task(task.pk) or task) if is_requested else task


def retry_task(task: TaskState) -> TaskState:
    """Run the task again after it failed, was cancelled or was lost; return its row. Raises `ActionRefused`."""
    try:
        return control.retry(task)
    except control.CannotRetry as refusal:
        raise ActionRefused(str(refusal)) from refusal
    except DatabaseError as error:
        raise _unsaved(task, error) from error
    except EnqueueFailed as error:
        raise ActionRefused(_("The task couldn't be started. Try again later."), status=503) from error


def can_force(task: TaskState) -> bool:
    """Whether the task's runner can terminate a run. It is known only where the runner is installed."""
    return isinstance(by_name(task.runner), Terminates)


def _unsaved(task: TaskState, error: DatabaseError) -> ActionRefused:
    """The database can't store it: it is read-only, down, or locked by a long transaction."""
    logger.warning("An action on task %s can't be saved: %r", task.pk, error)
    return ActionRefused(_("This can't be saved at the moment. Try again later."), status=503)
