"""Tasks of Huey (2.5 or newer), with Redis, SQLite or any other storage, by itself or through `djhuey`.

Reach: every process where its consumers run. A task carries nothing but its arguments, so its row is found by the
task's id, which Telltale chooses in `telltale.enqueue`. Huey drops the task of a killed consumer: its lease expires,
and a person can retry it. Huey's priorities, delays, retries, locks and expiry times work unchanged.
"""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from django.utils.translation import gettext as _
from huey import signals
from huey.api import Huey, Task, TaskWrapper
from huey.exceptions import CancelExecution, RetryTask

from telltale.core.states import State
from telltale.dispatch.follow import options_of_task, shown
from telltale.dispatch.import_paths import dotted_name, find_task
from telltale.dispatch.patching import patch
from telltale.dispatch.runner import ROW_WAIT_S, Call, TaskOptions, suppress_and_log
from telltale.dispatch.task_header import sending, take_header
from telltale.owners import Owner, current_owner

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

MAX_SEARCHED: Final = 1_000
"""How many waiting tasks are searched for a task's position: all tasks before it must be fetched."""

_running: ContextVar[Any] = ContextVar("telltale_huey_task", default=None)
"""The task that this thread executes."""

_ENDS: Final = {
    signals.SIGNAL_REVOKED: State.CANCELLED,
    signals.SIGNAL_EXPIRED: State.FAILED,
    signals.SIGNAL_INTERRUPTED: State.LOST,
}
"""The ends that no wrapper sees. A revoked or expired task never starts; an interrupted one can't write its end."""


class HueyRunner:
    """Shows tasks that are enqueued by `task(…)`, `task.schedule`, `huey.enqueue` or `telltale.enqueue`."""

    name = "huey"

    def install(self) -> None:
        """Patch the class: signals are connected to one instance, and `enqueued` is sent before the task is stored."""
        patch(Huey, "enqueue", _enqueue)
        patch(Huey, "execute", _execute)
        patch(Huey, "_emit", _emit)

    def owns(self, task: object) -> bool:
        """Whether `@huey.task()` or `@db_task()` made it."""
        return isinstance(task, TaskWrapper)

    def name_of(self, task: Any) -> str:
        """The dotted name of the function beneath the decorator."""
        return dotted_name(task.func)

    def function_of(self, task: Any) -> object:
        """The function beneath the decorator."""
        return task.func

    def options_for(self, task: Any) -> TaskOptions | None:
        """Those of the function beneath the decorator, or of its dotted name."""
        return options_of_task(task.func, dotted_name(task.func))

    def find(self, name: str) -> object | None:
        """The task of that dotted name; None if it can't be imported, or is another runner's."""
        return find_task(name, self.owns)

    def new_id(self) -> str:
        """An id like Huey's own."""
        return str(uuid4())

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Enqueue a task of that id."""
        instance = task.task_class(tuple(args), dict(kwargs), id=runner_id)
        with sending(task_id, runner_id=runner_id):
            task.huey.enqueue(instance)
        return str(instance.id)

    def current_call(self) -> Call | None:
        """The task that this thread executes."""
        task = _running.get()
        return None if task is None else _call(task)

    def verdict(self, error: BaseException) -> "Verdict | None":
        """Retrying if Huey will enqueue the task again; also translates `CancelExecution` and Huey's time limit."""
        from telltale.worker.run import Verdict

        task = _running.get()
        if isinstance(error, CancelExecution):
            will_retry = error.retry or (error.retry is None and task.retries)
            return Verdict(state=State.RETRYING if will_retry else State.CANCELLED, due_at=_retry_time(task, error))
        # By name, because older versions have no such exception.
        text = _("The task took too long and was stopped.") if type(error).__name__ == "TaskTimeout" else None
        if isinstance(error, RetryTask) or (task.retries and isinstance(error, Exception)):
            return Verdict(state=State.RETRYING, due_at=_retry_time(task, error), error=text)
        return Verdict(state=State.FAILED, error=text) if text else None

    def convert_cancellation(self, error: BaseException) -> BaseException:
        """`CancelExecution` without a retry."""
        cancelled: BaseException = CancelExecution(retry=False)
        return cancelled

    def revoke(self, task: Any, runner_id: str) -> None:
        """Have consumers skip the task."""
        task.huey.revoke_by_id(runner_id)

    def ahead(self, task: Any, runner_id: str) -> int | None:
        """The task's position in the queue; None if it is not among the first `MAX_SEARCHED`."""
        ids = [pending.id for pending in task.huey.pending(MAX_SEARCHED)]
        return ids.index(runner_id) if runner_id in ids else None


_functions: dict[type[Task], Any] = {}
"""The function of each class of tasks."""


def _function(task: Task) -> Any:
    task_class = type(task)
    if task_class not in _functions:
        # Huey keeps the function only in the closure of `execute`.
        _functions[task_class] = inspect.getclosurevars(task_class.execute).nonlocals.get("func")
    return _functions[task_class]


def _options_of_task(task: Task) -> TaskOptions | None:
    function = _function(task)
    return None if function is None else options_of_task(function, dotted_name(function))


def _call(task: Task) -> Call:
    return Call(
        runner=HueyRunner.name,
        runner_id=str(task.id),
        name=dotted_name(_function(task)),
        args=task.args,
        kwargs={key: value for key, value in task.kwargs.items() if not isinstance(value, Task)},
        options=_options_of_task(task),
        delivery=task.retries or 0,
        due_at=_timestamp(task.eta),
        row_wait_s=ROW_WAIT_S,
    )


def _timestamp(eta: datetime | None) -> float | None:
    """An `eta` in seconds since 1970. Huey's dates are naive and in UTC, unless the site has set `utc=False`."""
    if eta is None:
        return None
    return (eta if eta.tzinfo else eta.replace(tzinfo=UTC)).timestamp()


def _retry_time(task: Task, error: BaseException) -> float | None:
    from telltale import store

    if getattr(error, "eta", None) is not None:
        return _timestamp(error.eta)  # type: ignore[attr-defined]
    delay = getattr(error, "delay", None)
    return store.now() + (task.retry_delay or 0 if delay is None else delay)


# Patches


def _enqueue(original: Callable[..., Any], self: Huey, task: Any) -> Any:
    """Create the row. Not before the task is stored, so that a failure to store leaves no row."""
    is_tracked = isinstance(task, Task) and _options_of_task(task) is not None
    has_row = is_tracked and (take_header() is not None or _is_retry(task))
    result = original(self, task)
    if is_tracked and not has_row:
        _create_row(task)
    return result


def _is_retry(task: Task) -> bool:
    """Whether this thread is running the task, and so enqueues it again."""
    running = _running.get()
    return running is not None and running.id == task.id


@suppress_and_log
def _create_row(task: Task) -> None:
    from telltale import store
    from telltale.dispatch.rows import create_row_unless_there

    # Huey's scheduler enqueues a task a second time when it is due. The row may then be in a transaction of the
    # publisher that is still open, for which the scheduler must not wait.
    rows = store.task_rows().filter(runner=HueyRunner.name, runner_id=str(task.id))
    if not rows.exists():
        with suppress(store.RowLocked), store.limited_lock_waits():
            create_row_unless_there(replace(_call(task), owner=_owner_of_running_task()))


def _owner_of_running_task() -> Owner | None:
    """The owner of a run that has just ended: Huey then enqueues the next task of its pipeline. None for another."""
    from telltale.dispatch.rows import find_row

    running = _running.get()
    if running is None or current_owner() != Owner():
        return None
    found = find_row(replace(_call(running), row_wait_s=0.0))
    return None if found is None else found[1]


def _execute(original: Callable[..., Any], self: Huey, task: Any, *args: Any, **kwargs: Any) -> Any:
    token = _running.set(task)
    _show_if_followed(task)
    try:
        return original(self, task, *args, **kwargs)
    finally:
        _running.reset(token)


@suppress_and_log
def _show_if_followed(task: Task) -> None:
    """Wrap what runs the task. An attribute of the task itself is not stored if Huey enqueues it again."""
    function = _function(task)
    if function is not None:
        task.execute = shown(partial(type(task).execute, task), function, dotted_name(function))


def _emit(original: Callable[..., Any], self: Huey, signal: str, task: Any, *args: Any, **kwargs: Any) -> Any:
    original(self, signal, task, *args, **kwargs)
    if signal in _ENDS and isinstance(task, Task) and _options_of_task(task) is not None:
        _end(signal, task)


@suppress_and_log
def _end(signal: str, task: Task) -> None:
    from telltale.dispatch.rows import end_from_outside

    text = _("The task expired before a worker was free.") if signal == signals.SIGNAL_EXPIRED else None
    # Huey interrupts the tasks of this process. A revoked or expired task was not begun.
    pids = [os.getpid()] if signal == signals.SIGNAL_INTERRUPTED else []
    end_from_outside(HueyRunner.name, str(task.id), _ENDS[signal], pids=pids, error=text, detail=f"Huey: {signal}")
