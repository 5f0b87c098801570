"""Tasks of Huey (2.5 or newer), with Redis, SQLite or any other storage, by itself or through `djhuey`.

Reach: every process where its consumers run. A task carries nothing but its arguments, so its row is found by the
task's id, which Telltale chooses in `telltale.enqueue`. Huey drops the task of a killed consumer: its lease expires,
and a person can retry it. Huey's priorities, delays, retries, locks and expiry times work unchanged.
"""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID, uuid4

from django.utils.translation import gettext as _
from huey import signals
from huey.api import Huey, Task, TaskWrapper
from huey.exceptions import CancelExecution, RetryTask
from huey.storage import MemoryStorage

from telltale.core.states import State
from telltale.dispatch.follow import options_of_task, shown
from telltale.dispatch.import_paths import dotted_name, find_task
from telltale.dispatch.patching import patch
from telltale.dispatch.runner import ROW_WAIT_S, Call, TaskOptions, suppress_and_log
from telltale.dispatch.task_header import sending, take_header
from telltale.dispatch.waiting_ids import MAX_MESSAGES, WaitingIds, read_ids, waiting_ids
from telltale.owners import Owner, current_owner

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

MAX_SEARCHED: Final = 1_000
"""How many waiting tasks are searched for a task's position: all tasks before it must be fetched."""


class Run(NamedTuple):
    """A task, and the instance that executes it."""

    huey: Huey
    task: Task


_running: ContextVar[Run | None] = ContextVar("telltale_huey_task", default=None)
"""What this thread executes."""

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
        patch(Huey, "_run_pre_execute", _run_pre_execute)

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
        running = _running.get()
        return None if running is None else _call(*running)

    def verdict(self, error: BaseException) -> "Verdict | None":
        """Retrying if Huey will enqueue the task again; also translates `CancelExecution` and Huey's time limit."""
        from telltale.worker.run import Verdict

        running = _running.get()
        if running is None:
            return None
        task = running.task
        if isinstance(error, CancelExecution):
            will_retry = error.retry or (error.retry is None and task.retries)
            return Verdict(state=State.RETRYING if will_retry else State.CANCELLED, due_at=_retry_time(running, error))
        text = _("The task took too long and was stopped.") if _is(error, "TaskTimeout") else None
        asks_for_retry = isinstance(error, RetryTask) or (
            _is(error, "RateLimitExceeded") and getattr(error, "retry", False)
        )
        if asks_for_retry or (task.retries and isinstance(error, Exception)):
            return Verdict(state=State.RETRYING, due_at=_retry_time(running, error), error=text)
        return Verdict(state=State.FAILED, error=text) if text else None

    def convert_cancellation(self, error: BaseException) -> BaseException:
        """`CancelExecution` without a retry."""
        cancelled: BaseException = CancelExecution(retry=False)
        return cancelled

    def revoke(self, task: Any, runner_id: str) -> None:
        """Have consumers skip the task."""
        task.huey.revoke_by_id(runner_id)

    def queue_of(self, task: Any) -> str:
        """The name of its Huey instance."""
        return str(task.huey.name)

    def ahead(self, task: Any, runner_id: str) -> int | None:
        """The task's position in the queue; None if it is not among the first `MAX_SEARCHED`."""
        ids = [pending.id for pending in task.huey.pending(MAX_SEARCHED)]
        return ids.index(runner_id) if runner_id in ids else None

    def has_message(self, task: Any, runner_id: str) -> bool | None:
        """Whether the task is in the queue or the schedule; None if both are too long to be searched."""
        huey = task.huey
        if isinstance(huey.storage, MemoryStorage):
            return None  # Another process has its own.
        return waiting_ids((self.name, id(huey.storage)), partial(_search, huey)).has(runner_id)


def _search(huey: Huey) -> WaitingIds:
    def items() -> Iterator[bytes]:
        # In this order: the scheduler moves tasks from the schedule to the queue.
        yield from huey.storage.scheduled_items(MAX_MESSAGES + 1)
        yield from huey.storage.enqueued_items(MAX_MESSAGES + 1)

    return read_ids(items(), lambda item: str(huey.serializer.deserialize(item).id))


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


def _call(huey: Huey, task: Task) -> Call:
    return Call(
        runner=HueyRunner.name,
        runner_id=str(task.id),
        name=dotted_name(_function(task)),
        args=task.args,
        kwargs={key: value for key, value in task.kwargs.items() if not isinstance(value, Task)},
        options=_options_of_task(task),
        delivery=task.retries or 0,
        due_at=None if task.eta is None else _timestamp(huey, task.eta),
        row_wait_s=ROW_WAIT_S,
    )


def _timestamp(huey: Huey, eta: datetime) -> float:
    """A task's `eta` in seconds since 1970. Huey's dates are naive: in UTC, or in local time if the site says so."""
    return (eta.replace(tzinfo=UTC) if huey.utc and eta.tzinfo is None else eta).timestamp()


def _is(error: Any, name: str) -> bool:
    """Whether it is Huey's exception of that name, which older versions do not have."""
    return type(error).__name__ == name


def _retry_time(run: Run, error: Any) -> float:
    """When Huey runs the task again, in seconds since 1970, by what the exception asks for."""
    from telltale import store

    eta: datetime | None = getattr(error, "eta", None)
    if eta:
        return eta.timestamp()  # A naive one is in local time.
    delay = getattr(error, "delay", None)
    if delay is None or (_is(error, "RateLimitExceeded") and run.task.retry_delay):
        delay = run.task.retry_delay or 0
    return store.now() + (delay.total_seconds() if isinstance(delay, timedelta) else delay)


# Patches


def _enqueue(original: Callable[..., Any], self: Huey, task: Any) -> Any:
    """Create the row. Not before the task is stored, so that a failure to store leaves no row."""
    is_tracked = isinstance(task, Task) and _options_of_task(task) is not None
    has_row = is_tracked and (take_header() is not None or _is_retry(task))
    result = original(self, task)
    if is_tracked and not has_row:
        _create_row(self, task)
    return result


def _is_retry(task: Task) -> bool:
    """Whether this thread is running the task, and so enqueues it again."""
    running = _running.get()
    return running is not None and running.task.id == task.id


@suppress_and_log
def _create_row(huey: Huey, task: Task) -> None:
    from telltale import store
    from telltale.dispatch.rows import create_row_unless_there

    # Huey's scheduler enqueues a task a second time when it is due. The row may then be in a transaction of the
    # publisher that is still open, for which the scheduler must not wait.
    rows = store.task_rows().filter(runner=HueyRunner.name, runner_id=str(task.id))
    if not rows.exists():
        with suppress(store.RowLocked), store.limited_lock_waits():
            call = replace(_call(huey, task), owner=_owner_of_running_task(), queue=str(huey.name))
            create_row_unless_there(call)


def _owner_of_running_task() -> Owner | None:
    """The owner of a run that has just ended: Huey then enqueues the next task of its pipeline. None for another."""
    from telltale.dispatch.rows import find_row

    running = _running.get()
    if running is None or current_owner() != Owner():
        return None
    found = find_row(replace(_call(*running), row_wait_s=0.0))
    return None if found is None else found[1]


def _execute(original: Callable[..., Any], self: Huey, task: Any, *args: Any, **kwargs: Any) -> Any:
    token = _running.set(Run(self, task))
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


def _run_pre_execute(original: Callable[..., None], self: Huey, task: Task) -> None:
    """Huey drops a task that one of the site's hooks cancels before it starts. Its signal also comes for others."""
    try:
        original(self, task)
    except CancelExecution:
        if _options_of_task(task) is not None:
            _end(signals.SIGNAL_CANCELED, task)
        raise


@suppress_and_log
def _end(signal: str, task: Task) -> None:
    from telltale.dispatch.rows import end_from_outside

    text = _("The task expired before a worker was free.") if signal == signals.SIGNAL_EXPIRED else None
    # Huey interrupts the tasks of this process. All others were not begun.
    pids = [os.getpid()] if signal == signals.SIGNAL_INTERRUPTED else []
    state = _ENDS.get(signal, State.CANCELLED)
    end_from_outside(HueyRunner.name, str(task.id), state, pids=pids, error=text, detail=f"Huey: {signal}")
