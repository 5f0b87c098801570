"""Tasks of Huey (2.5 or newer), over Redis, SQLite or any other storage, by itself or through `djhuey`.

Reach: wherever its consumers are. Nothing travels with a task but its arguments, so its row is found by the
task's id, which Telltale chooses where it enqueues. A killed consumer's task is gone for Huey: the lease
tells it, and a person can run it again. Its priority, delays, retries, locks and expiry work as ever.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from django.utils.translation import gettext as _
from huey import signals
from huey.api import Huey, Task, TaskWrapper
from huey.exceptions import CancelExecution, RetryTask

from telltale.core.states import State
from telltale.dispatch.import_paths import dotted_name, find_task
from telltale.dispatch.runner import OPTIONS_ATTRIBUTE, Call, TaskOptions, options_of, suppress_and_log
from telltale.dispatch.task_header import sending, take_header

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

ROW_WAIT_S: Final = 0.5
"""A consumer may begin before the asker has made the row; it then comes in milliseconds."""

MOST_LOOKED_AT: Final = 1_000
"""Further behind than this, a task's place is not looked for: all before it would have to be fetched."""

_running: ContextVar[Any] = ContextVar("telltale_huey_task", default=None)


class HueyRunner:
    """`task(…)`, `task.schedule(…)`, `huey.enqueue(task.s(…))` and `telltale.enqueue(task, …)` make the row."""

    name = "huey"

    def install(self) -> None:
        """Wrap the one door for new tasks, and the one place where tasks are run; harmless when repeated."""
        _wrap("enqueue", _enqueueing)
        _wrap("execute", _executing)
        _wrap("_emit", _telling)

    def owns(self, task: object) -> bool:
        """Whether `@huey.task()` or `@db_task()` made it."""
        return isinstance(task, TaskWrapper)

    def name_of(self, task: Any) -> str:
        """Where it can be imported from."""
        return dotted_name(task.func)

    def function_of(self, task: Any) -> object:
        """The function beneath the decorator."""
        return task.func

    def find(self, name: str) -> object | None:
        """Import it; None if it can't be imported, or is not this runner's."""
        return find_task(name, self.owns)

    def new_id(self) -> str:
        """As Huey makes its own."""
        return str(uuid4())

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Enqueue it under that id."""
        made = task.task_class(tuple(args), dict(kwargs), id=runner_id)
        with sending(task_id, runner_id=runner_id):
            task.huey.enqueue(made)
        return str(made.id)

    def current_call(self) -> Call | None:
        """The task that this thread executes."""
        task = _running.get()
        return None if task is None else _call(task)

    def verdict(self, error: BaseException) -> "Verdict | None":
        """Whether and when Huey requeues it."""
        from telltale.worker.run import Verdict

        task = _running.get()
        if isinstance(error, CancelExecution):
            comes_again = error.retry or (error.retry is None and task.retries)
            return Verdict(state=State.RETRYING if comes_again else State.CANCELLED, due_at=_due_at(task, error))
        words = _("The task took too long and was stopped.") if type(error).__name__ == "TaskTimeout" else None
        if isinstance(error, RetryTask) or (task.retries and isinstance(error, Exception)):
            return Verdict(state=State.RETRYING, due_at=_due_at(task, error), error=words)
        return Verdict(state=State.FAILED, error=words) if words else None

    def convert_cancellation(self, error: BaseException) -> BaseException:
        """What Huey is to see in place of a cancellation: nothing that is tried again."""
        cancelled: BaseException = CancelExecution(retry=False)
        return cancelled

    def revoke(self, task: Any, runner_id: str) -> None:
        """Have consumers skip it."""
        task.huey.revoke_by_id(runner_id)

    def ahead(self, task: Any, runner_id: str) -> int | None:
        """Its place in the queue, among the first thousand."""
        ids = [pending.id for pending in task.huey.pending(MOST_LOOKED_AT)]
        return ids.index(runner_id) if runner_id in ids else None


_functions: dict[Any, Any] = {}


def _function(task: Task) -> Any:
    made = type(task)
    if made not in _functions:
        # Huey keeps the function in the closure of `execute` alone.
        _functions[made] = inspect.getclosurevars(made.execute).nonlocals.get("func")
    return _functions[made]


def _mark(task: Task) -> TaskOptions | None:
    return options_of(_function(task))


def _call(task: Task) -> Call:
    func = _function(task)
    return Call(
        runner=HueyRunner.name,
        runner_id=str(task.id),
        name=dotted_name(func),
        args=task.args,
        kwargs={key: value for key, value in task.kwargs.items() if not isinstance(value, Task)},
        options=_mark(task),
        delivery=task.retries or 0,
        due_at=_instant(task.eta),
        row_wait_s=ROW_WAIT_S,
    )


def _instant(eta: datetime | None) -> float | None:
    """Huey's dates are naive: UTC, or local time where the site has set `utc=False`, and then compared as such."""
    if eta is None:
        return None
    return (eta if eta.tzinfo else eta.replace(tzinfo=UTC)).timestamp()


def _due_at(task: Task, error: BaseException) -> float | None:
    from telltale import store

    if getattr(error, "eta", None) is not None:
        return _instant(error.eta)  # type: ignore[attr-defined]
    delay = getattr(error, "delay", None)
    return store.now() + (task.retry_delay or 0 if delay is None else delay)


# The doors


def _wrap(name: str, around: Callable[..., Any]) -> None:
    original = getattr(Huey, name)
    if hasattr(original, OPTIONS_ATTRIBUTE):
        return

    @wraps(original)
    def method(self: Huey, *args: Any, **kwargs: Any) -> Any:
        return around(original, self, *args, **kwargs)

    setattr(method, OPTIONS_ATTRIBUTE, original)
    setattr(Huey, name, method)


def _enqueueing(original: Callable[..., Any], self: Huey, task: Any) -> Any:
    """Make the row once the task is stored, so that a failure to store leaves none."""
    is_ours = isinstance(task, Task) and _mark(task) is not None
    known = is_ours and (take_header() is not None or _is_going_on(task))
    result = original(self, task)
    if is_ours and not known:
        _enqueued(task)
    return result


def _is_going_on(task: Task) -> bool:
    """A retry, by the very thread that ran it."""
    here = _running.get()
    return here is not None and here.id == task.id


@suppress_and_log
def _enqueued(task: Task) -> None:
    from telltale import store
    from telltale.dispatch.rows import create_row_unless_there

    # A scheduler moves what has fallen due through the same door.
    rows = store.task_rows().filter(runner=HueyRunner.name, runner_id=str(task.id))
    if not rows.exists():
        create_row_unless_there(_call(task))


def _executing(original: Callable[..., Any], self: Huey, task: Any, *args: Any, **kwargs: Any) -> Any:
    token = _running.set(task)
    try:
        return original(self, task, *args, **kwargs)
    finally:
        _running.reset(token)


def _telling(original: Callable[..., Any], self: Huey, signal: str, task: Any, *args: Any, **kwargs: Any) -> Any:
    original(self, signal, task, *args, **kwargs)
    if signal in _ENDS and isinstance(task, Task) and _mark(task) is not None:
        _ended(signal, task)


@suppress_and_log
def _ended(signal: str, task: Task) -> None:
    """Ends that no wrapper sees: what was revoked or had expired never began; what was interrupted is gone."""
    from telltale.dispatch.rows import end_from_outside

    state = _ENDS[signal]
    words = _("The task expired before a worker was free.") if signal == signals.SIGNAL_EXPIRED else None
    end_from_outside(HueyRunner.name, str(task.id), state, error=words, detail=f"Huey: {signal}")


_ENDS: Final = {
    signals.SIGNAL_REVOKED: State.CANCELLED,
    signals.SIGNAL_EXPIRED: State.FAILED,
    signals.SIGNAL_INTERRUPTED: State.LOST,
}
