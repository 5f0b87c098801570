"""Runs that the wrapper of `tracked` can't end: their libraries report them, and the runners' own files call this.

A run may fail before the wrapper begins, for example because the worker does not know the task, or because a decorator
above `tracked` raises. And the process of a run may be killed, while the library runs the task again by itself: then
the task is not lost, and nobody need do anything.
"""

from collections.abc import Collection
from functools import partial

from django import db
from django.db import close_old_connections
from django.utils.translation import gettext as _

from telltale import store
from telltale.core.states import State
from telltale.dispatch.rows import end_from_outside
from telltale.messages import announce
from telltale.worker.attempt import worker_name
from telltale.worker.reporter import reporter


def fail_unbegun(runner: str, runner_id: str, *, is_known: bool, detail: str = "") -> None:
    """End the task as failed if it waits: its library has run it for the last time. Never raises.

    `is_known`: whether this process knows the task. `detail`: a text for staff.
    """
    text = _("An unexpected error occurred.") if is_known else _("The worker does not know this task.")
    rows = store.task_rows().filter(runner=runner, runner_id=runner_id)
    try:
        close_old_connections()
        with store.time_limit():
            waits = rows.filter(state__in=[State.QUEUED.value, State.RETRYING.value]).exists()
    except db.Error:
        waits = True  # Then the function finds that out.
    if waits:
        # By the saver, after the ends that it still has to write: this task's own may have been rolled back.
        end = partial(end_from_outside, runner, runner_id, State.FAILED, error=text, detail=detail)
        reporter().saver.end_later(end)


def show_as_retrying(runner: str, runner_id: str, *, pids: Collection[int], due_at: float | None = None) -> None:
    """Show that the attempt that one of these processes ran is tried again; a task that was cancelled ends.

    `due_at`: in seconds since 1970; None if unknown. Nothing is written if the next attempt has begun.
    """
    workers = [worker_name(pid) for pid in pids]
    running = store.task_rows().filter(runner=runner, runner_id=runner_id, state=State.RUNNING.value)
    close_old_connections()
    with store.time_limit():
        row = running.filter(worker__in=workers).first()
        changed = None if row is None else store.set_retrying(row.pk, row.attempt, due_at=due_at)
    announce(changed.envelopes if changed else [])
