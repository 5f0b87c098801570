"""The ends of Celery's tasks that the worker's main process writes, because the task's own process can't.

They are those of child processes that were killed, terminated or exceeded a hard time limit, of revoked and expired
messages, and of tasks that the worker does not know. Used by `celery.py`.
"""

import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from celery import signals
from celery.exceptions import TimeLimitExceeded, WorkerLostError
from django.utils.translation import gettext as _

from telltale.core.states import State
from telltale.dispatch.patching import patch
from telltale.dispatch.runner import ROW_WAIT_S, Call, suppress_and_log
from telltale.dispatch.task_header import HEADER, TaskHeader
from telltale.runners.celery_tasks import NAME, options_of_task

_ending_request: ContextVar[Any] = ContextVar("telltale_celery_ending_request", default=None)
"""The request whose failure, time limit or termination the worker's main process handles."""


def install() -> None:
    """Connect to the signals of workers."""
    signals.task_failure.connect(_on_failure, dispatch_uid="telltale.on_failure", weak=False)
    signals.task_retry.connect(_on_retry, dispatch_uid="telltale.on_retry", weak=False)
    signals.task_revoked.connect(_on_revoked, dispatch_uid="telltale.on_revoked", weak=False)
    signals.task_unknown.connect(_on_unknown, dispatch_uid="telltale.on_unknown", weak=False)
    signals.celeryd_init.connect(_patch_requests, dispatch_uid="telltale.requests", weak=False)


def _patch_requests(**_ignored: object) -> None:
    """Remember the request whose end the main process handles: the signals don't carry it."""
    from celery.worker.request import Request

    for name in ("on_failure", "on_timeout", "terminate"):
        patch(Request, name, _handle_end)
    patch(Request, "cancel", _cancel)


def _handle_end(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    token = _ending_request.set(self)
    try:
        return original(self, *args, **kwargs)
    finally:
        _ending_request.reset(token)


def _pids_of(request: Any) -> list[int]:
    """The processes of which one ran the request: the child process, or this one, whose pool has greenlets."""
    pid = getattr(request, "worker_pid", None)
    return [] if pid is None else [pid, os.getpid()]


def _cancel(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    """Celery terminates a run whose message will be delivered again, such as after a loss of the connection.

    This is written first: the run that is terminated would end as failed.
    """
    if self.task.acks_late and not self.acknowledged and options_of_task(self.task) is not None:
        _show_as_retrying(str(self.id), self)
    return original(self, *args, **kwargs)


@suppress_and_log
def _on_retry(*, sender: Any, request: Any, **_ignored: object) -> None:
    """In the main process: a child process was killed, and Celery retries its task (`retry_on_worker_lost`)."""
    ending = _ending_request.get()
    if ending is not None and options_of_task(sender) is not None:
        _show_as_retrying(str(request.id), ending, due_in_s=sender.default_retry_delay)


@suppress_and_log
def _show_as_retrying(task_id: str, request: Any, *, due_in_s: float | None = None) -> None:
    from telltale import store
    from telltale.runners.unfinished_runs import show_as_retrying

    due_at = None if due_in_s is None else store.now() + due_in_s
    show_as_retrying(NAME, task_id, pids=_pids_of(request), due_at=due_at)


@suppress_and_log
def _on_failure(*, sender: Any, task_id: str, exception: BaseException, **_ignored: object) -> None:
    """In the main process: a child process was killed or exceeded its time limit.

    In a child the wrapper has written the end, unless the task failed before, such as in a decorator above `tracked`.
    """
    from telltale.dispatch.rows import end_from_outside
    from telltale.runners.unfinished_runs import fail_unbegun

    if options_of_task(sender) is None:
        return
    if isinstance(exception, WorkerLostError):
        end_from_outside(NAME, task_id, State.LOST, pids=_pids_of(_ending_request.get()), detail=str(exception))
    elif isinstance(exception, TimeLimitExceeded):
        text = _("The task took too long and was stopped.")
        end_from_outside(
            NAME,
            task_id,
            State.FAILED,
            pids=_pids_of(_ending_request.get()),
            error=text,
            detail=str(exception),
        )
    else:
        fail_unbegun(NAME, task_id, is_known=True, detail=repr(exception))


@suppress_and_log
def _on_revoked(*, sender: Any, request: Any, expired: bool, terminated: bool, **_ignored: object) -> None:
    """In the main process: a message was received that is revoked or has expired, or its run was terminated."""
    from telltale.dispatch.rows import end_from_outside

    if options_of_task(sender) is None:
        return
    if expired:
        text = _("The task expired before a worker was free.")
        end_from_outside(NAME, str(request.id), State.FAILED, error=text)
    else:
        pids = _pids_of(_ending_request.get()) if terminated else []
        end_from_outside(NAME, str(request.id), State.CANCELLED, pids=pids)


@suppress_and_log
def _on_unknown(*, name: str, id: str, message: Any, exc: BaseException, **_ignored: object) -> None:
    """In the main process: the message was discarded, because the worker has no task of that name."""
    from telltale.dispatch.rows import end_from_outside, find_row

    header = TaskHeader.from_json(message.headers.get(HEADER))
    if header is None:
        return
    # The worker may be faster than the publisher, which creates the row after it has sent the message.
    call = Call(runner=NAME, runner_id=id, name=name, task_id=header.task_id, row_wait_s=ROW_WAIT_S)
    if find_row(call) is not None:
        text = _("The worker does not know this task.")
        end_from_outside(call.runner, id, State.FAILED, error=text, detail=repr(exc))
