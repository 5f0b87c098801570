"""Tasks of `django.tasks`: built in from Django 6.0, else the `django-tasks` backport; any back end.

Reach: that of the back end (`django-tasks-db`: every process with the database). Nothing travels with
such a task but its JSON arguments, so a row is found by the result's id. `@task` outside, `@tracked`
beneath. Limits: it retries nothing and reports no deaths; the lease does that.

Its signals are sent plainly: a handler that raises would break the enqueueing or the worker's own books.
So handlers here never raise, and connect without a sender, which back ends set differently.
"""

import logging
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from telltale.dispatch.import_paths import find_task
from telltale.dispatch.runner import Call, options_of, suppress_and_log
from telltale.dispatch.task_header import sending, take_header

try:
    from django.tasks.base import Task
    from django.tasks.signals import task_enqueued, task_finished, task_started
except ModuleNotFoundError:
    from django_tasks.base import Task  # type: ignore[assignment]
    from django_tasks.signals import task_enqueued, task_finished, task_started

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

logger = logging.getLogger(__name__)

ROW_WAIT_S: Final = 0.5
"""A worker may begin before `enqueue` has told its asker the id; the row then comes in milliseconds."""

_running: ContextVar[tuple[Call, ...]] = ContextVar("telltale_django_calls", default=())
"""The calls that are being run, the innermost last: the immediate back end runs one inside another."""


class DjangoTasksRunner:
    """`task.enqueue(…)` and `telltale.enqueue(task, …)` both make the queued row."""

    name = "django_tasks"
    runs_async = True

    def install(self) -> None:
        """Connect to the three signals."""
        task_enqueued.connect(_enqueued, dispatch_uid="telltale.runners.django_tasks")
        task_started.connect(_started, dispatch_uid="telltale.runners.django_tasks")
        task_finished.connect(_finished, dispatch_uid="telltale.runners.django_tasks")

    def owns(self, task: object) -> bool:
        """Whether `@task` made it."""
        return isinstance(task, Task)

    def name_of(self, task: Any) -> str:
        """The path by which back ends find it again."""
        return str(task.module_path)

    def function_of(self, task: Any) -> object:
        """The function beneath `@task`."""
        return task.func

    def find(self, name: str) -> object | None:
        """Import it; None if it can't be imported, or is not this runner's."""
        return find_task(name, self.owns)

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Its own `enqueue`; `_enqueued` ties the row to the result before an immediate back end runs it."""
        with sending(task_id):
            return str(task.enqueue(*args, **kwargs).id)

    def current_call(self) -> Call | None:
        """The innermost call that this thread or coroutine is running."""
        running = _running.get()
        return running[-1] if running else None

    def verdict(self, error: BaseException) -> "Verdict | None":
        """Exceptions mean what they say."""
        return None


def _call(task_result: Any) -> Call:
    task = task_result.task
    return Call(
        runner=DjangoTasksRunner.name,
        runner_id=str(task_result.id),
        name=str(task.module_path),
        args=task_result.args,
        kwargs=task_result.kwargs,
        options=options_of(task.func),
        delivery=len(task_result.worker_ids),
        due_at=task.run_after.timestamp() if task.run_after else None,
        row_wait_s=ROW_WAIT_S,
    )


@suppress_and_log
def _enqueued(sender: object, task_result: Any, **_: object) -> None:
    from telltale import store
    from telltale.dispatch.rows import create_queued_row

    call = _call(task_result)
    if call.options is None:
        return
    carried = take_header()
    if carried is None:
        create_queued_row(call)
        return
    store.set_runner_id(carried.task_id, call.runner_id)
    if call.due_at is not None:
        store.reschedule(carried.task_id, call.due_at)


@suppress_and_log
def _started(sender: object, task_result: Any, **_: object) -> None:
    _running.set((*_running.get(), _call(task_result)))


@suppress_and_log
def _finished(sender: object, task_result: Any, **_: object) -> None:
    running = _running.get()
    ids = [call.runner_id for call in running]
    if str(task_result.id) in ids:
        _running.set(running[: ids.index(str(task_result.id))])
