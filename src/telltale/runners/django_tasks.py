"""Tasks of `django.tasks` (built in from Django 6.0, or the `django-tasks` backport), with any backend.

Reach: the backend's; that of `django-tasks-db` is every process with the database. `@task` stands above, `@tracked`
beneath. A task carries nothing but its JSON arguments, so its row is found by the id of its result. Limits: it has no
retries and reports no killed workers; the lease finds those. A task is followed by its name if its backend runs it by
`Task.call` or `Task.acall`, as Django's own backends do.

Django sends these signals with `send`: a handler that raises would break the enqueueing, or the worker's own records.
So the handlers here never raise. They connect without a sender, because each backend sends another one.
"""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from uuid import UUID

from telltale.dispatch.follow import options_of_task, shown
from telltale.dispatch.import_paths import find_task
from telltale.dispatch.patching import patch
from telltale.dispatch.runner import ROW_WAIT_S, Call, TaskOptions, stored_record, suppress_and_log
from telltale.dispatch.task_header import sending, take_header

try:
    from django.tasks.base import Task, TaskResultStatus
    from django.tasks.exceptions import TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started
except ModuleNotFoundError:
    from django_tasks.base import Task, TaskResultStatus  # type: ignore[assignment]
    from django_tasks.exceptions import TaskResultDoesNotExist  # type: ignore[assignment]
    from django_tasks.signals import task_enqueued, task_finished, task_started

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

_running: ContextVar[tuple[Call, ...]] = ContextVar("telltale_django_calls", default=())
"""The calls that are running, the innermost last: the immediate backend runs one inside another."""


class DjangoTasksRunner:
    """Shows tasks that are enqueued by `task.enqueue` or `telltale.enqueue`."""

    name = "django_tasks"
    runs_async = True

    def install(self) -> None:
        """Connect to the three signals, and patch the two methods that run a task."""
        patch(Task, "call", _call_task)
        patch(Task, "acall", _call_task)
        task_enqueued.connect(_on_enqueued, dispatch_uid="telltale.runners.django_tasks")
        task_started.connect(_on_started, dispatch_uid="telltale.runners.django_tasks")
        task_finished.connect(_on_finished, dispatch_uid="telltale.runners.django_tasks")

    def owns(self, task: object) -> bool:
        """Whether `@task` made it."""
        return isinstance(task, Task)

    def name_of(self, task: Any) -> str:
        """The dotted name by which backends import it."""
        return str(task.module_path)

    def function_of(self, task: Any) -> object:
        """The function beneath `@task`."""
        return task.func

    def options_for(self, task: Any) -> TaskOptions | None:
        """Those of the function beneath `@task`, or of the task's dotted name."""
        return options_of_task(task.func, str(task.module_path))

    def find(self, name: str) -> object | None:
        """The task of that dotted name; None if it can't be imported, or is another runner's."""
        return find_task(name, self.owns)

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Call `task.enqueue`; the signal's handler links the row, before an immediate backend runs the task."""
        with sending(task_id):
            return str(task.enqueue(*args, **kwargs).id)

    def has_message(self, task: Any, runner_id: str) -> bool | None:
        """Whether the task's result is ready to run. One that runs, but was not claimed, has lost its worker."""
        try:
            return bool(task.get_result(runner_id).status == TaskResultStatus.READY)
        except TaskResultDoesNotExist:
            return False
        except NotImplementedError:  # The backend stores no results.
            return None

    def queue_of(self, task: Any) -> str:
        """The task's queue, by its decorator or `using`."""
        return str(task.queue_name)

    def record(self, runner_id: str, queue: str) -> Any:
        """The stored result of django-tasks-db."""
        return stored_record("django_tasks_database.DBTaskResult", pk=runner_id)

    def current_call(self) -> Call | None:
        """The innermost call that this thread or coroutine is running."""
        running = _running.get()
        return running[-1] if running else None

    def verdict(self, error: BaseException) -> "Verdict | None":
        """None: no exception has a special meaning."""
        return None


def _call(task_result: Any) -> Call:
    task = task_result.task
    return Call(
        runner=DjangoTasksRunner.name,
        runner_id=str(task_result.id),
        name=str(task.module_path),
        args=task_result.args,
        kwargs=task_result.kwargs,
        options=options_of_task(task.func, str(task.module_path)),
        delivery=len(task_result.worker_ids),
        due_at=task.run_after.timestamp() if task.run_after else None,
        queue=str(task.queue_name),
        row_wait_s=ROW_WAIT_S,
    )


def _call_task(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    return shown(original, self.func, str(self.module_path))(self, *args, **kwargs)


@suppress_and_log
def _on_enqueued(sender: object, task_result: Any, **_: object) -> None:
    from telltale.dispatch.rows import complete_row, create_queued_row

    call = _call(task_result)
    if call.options is None:
        return
    header = take_header()
    if header is None:
        create_queued_row(call)
    else:
        complete_row(header.task_id, runner_id=call.runner_id, due_at=call.due_at)


@suppress_and_log
def _on_started(sender: object, task_result: Any, **_: object) -> None:
    _running.set((*_running.get(), _call(task_result)))


@suppress_and_log
def _on_finished(sender: object, task_result: Any, **_: object) -> None:
    running = _running.get()
    ids = [call.runner_id for call in running]
    if str(task_result.id) in ids:
        _running.set(running[: ids.index(str(task_result.id))])
