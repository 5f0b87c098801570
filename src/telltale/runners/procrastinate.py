"""Jobs of Procrastinate (3.5 or newer), over PostgreSQL, through its Django app or by itself.

Reach: every process with its database. A job carries its arguments and no more, so its row is found by the
job's id; with the tables in one database, job and row are committed together. Procrastinate calls by
keyword alone, so positional arguments get their names here.

A killed worker's jobs stay `doing` until somebody sweeps them (`get_stalled_jobs`, docs/runners/procrastinate.md);
a job that is swept comes again as the next attempt.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import wraps
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from asgiref.sync import sync_to_async
from procrastinate import exceptions
from procrastinate.job_context import JobContext
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from procrastinate.tasks import Task
from procrastinate.worker import Worker

from telltale.core.states import State
from telltale.dispatch.runner import OPTIONS_ATTRIBUTE, Call, PendingCall, TaskOptions, options_of, suppress_and_log
from telltale.dispatch.task_header import TaskHeader, sending, take_headers

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

ROW_WAIT_S: Final = 0.5
"""A worker may begin before the asker has made the row; it then comes in milliseconds."""

_running: ContextVar[JobContext | None] = ContextVar("telltale_procrastinate_job", default=None)


class ProcrastinateRunner:
    """`task.defer(…)`, `defer_async`, `configure(…).defer`, `batch_defer` and `telltale.enqueue` make the row."""

    name = "procrastinate"
    runs_async = True

    def install(self) -> None:
        """Wrap the two doors for new jobs, and the one place where jobs are run; harmless when repeated."""
        if hasattr(JobManager.batch_defer_jobs, OPTIONS_ATTRIBUTE):
            return
        _wrap_doors()
        _wrap_worker()

    def owns(self, task: object) -> bool:
        """Whether `@app.task` made it."""
        return isinstance(task, Task)

    def name_of(self, task: Any) -> str:
        """The name in its app's registry."""
        return str(task.name)

    def function_of(self, task: Any) -> object:
        """The function beneath `@app.task`."""
        return task.func

    def find(self, name: str) -> object | None:
        """From the Django app's registry."""
        from procrastinate.contrib.django import app

        found: object | None = app.tasks.get(name)
        return found

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Defer it; the hook ties the row to the job, in the same transaction."""
        with sending(task_id):
            return str(task.defer(**_named(task, args, kwargs)))

    def enqueue_many(self, task: Any, calls: Sequence[PendingCall]) -> Sequence[str]:
        """In one statement."""
        with sending(*(call.task_id for call in calls)):
            ids = task.batch_defer(*(_named(task, call.args, call.kwargs) for call in calls))
        return [str(job_id) for job_id in ids]

    def current_call(self) -> Call | None:
        """The job that this thread or coroutine runs."""
        context = _running.get()
        return None if context is None else _call(context.job, _mark(context.app, context.job))

    def verdict(self, error: BaseException) -> "Verdict | None":
        """Whether and when its retry strategy runs it again."""
        from telltale.worker.run import Verdict

        context = _running.get()
        task = context.app.tasks.get(context.job.task_name) if context is not None else None
        if context is None or task is None:
            return None
        if isinstance(error, exceptions.JobAborted):
            return Verdict(state=State.CANCELLED)
        again = task.get_retry_exception(exception=error, job=context.job)
        if again is None:
            return None
        retry_at = again.retry_decision.retry_at
        return Verdict(state=State.RETRYING, due_at=retry_at.timestamp() if retry_at else None)

    def convert_cancellation(self, error: BaseException) -> BaseException:
        """What Procrastinate is to see in place of a cancellation: an aborted job, which nothing retries."""
        aborted: BaseException = exceptions.JobAborted(str(error))
        return aborted

    def revoke(self, task: Any, runner_id: str) -> None:
        """Cancel the job that waits."""
        task.blueprint.job_manager.cancel_job_by_id(int(runner_id))

    def ahead(self, task: Any, runner_id: str) -> int | None:
        """How many jobs of its queue came before it; priorities are not looked at."""
        waiting = task.blueprint.job_manager.list_jobs(queue=task.queue, status="todo")
        ids = sorted(job.id for job in waiting)
        return ids.index(int(runner_id)) if int(runner_id) in ids else None


def _named(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    signature = inspect.signature(task.func)
    # With a context, the first parameter is Procrastinate's to give.
    given = signature.bind(None, *args, **kwargs) if task.pass_context else signature.bind(*args, **kwargs)
    names = list(given.arguments)
    return {name: given.arguments[name] for name in (names[1:] if task.pass_context else names)}


def _mark(app: Any, job: Job) -> TaskOptions | None:
    task = app.tasks.get(job.task_name)
    return None if task is None else options_of(task.func)


def _call(job: Job, options: TaskOptions | None, carried: TaskHeader | None = None) -> Call:
    return Call(
        runner=ProcrastinateRunner.name,
        runner_id=str(job.id),
        name=job.task_name,
        kwargs=job.task_kwargs,
        options=options,
        delivery=job.attempts,
        task_id=carried.task_id if carried else None,
        due_at=job.scheduled_at.timestamp() if job.scheduled_at else None,
        row_wait_s=ROW_WAIT_S,
    )


# The doors


def _wrap_doors() -> None:
    batch, batch_async = JobManager.batch_defer_jobs, JobManager.batch_defer_jobs_async

    @wraps(batch)
    def batch_defer_jobs(self: JobManager, jobs: list[Job], *args: Any, **kwargs: Any) -> list[Job]:
        carried = take_headers()
        deferred = batch(self, jobs, *args, **kwargs)
        _deferred(deferred, carried)
        return deferred

    @wraps(batch_async)
    async def batch_defer_jobs_async(self: JobManager, jobs: list[Job], *args: Any, **kwargs: Any) -> list[Job]:
        carried = take_headers()
        deferred = await batch_async(self, jobs, *args, **kwargs)
        await sync_to_async(_deferred)(deferred, carried)
        return deferred

    setattr(batch_defer_jobs, OPTIONS_ATTRIBUTE, batch)
    JobManager.batch_defer_jobs = batch_defer_jobs  # type: ignore[method-assign]
    JobManager.batch_defer_jobs_async = batch_defer_jobs_async  # type: ignore[method-assign]


@suppress_and_log
def _deferred(jobs: list[Job], headers: Sequence[TaskHeader]) -> None:
    from procrastinate.contrib.django import app

    from telltale import store
    from telltale.dispatch.rows import create_row_unless_there

    for job, carried in zip_longest(jobs, headers):
        options = _mark(app, job)
        if options is None:
            continue
        if carried is None:
            create_row_unless_there(_call(job, options))
            continue
        store.set_runner_id(carried.task_id, str(job.id))
        if job.scheduled_at is not None:
            store.reschedule(carried.task_id, job.scheduled_at.timestamp())


def _wrap_worker() -> None:
    original = Worker.__init__

    @wraps(original)
    def init(self: Worker, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.worker_middleware = [_around, *self.worker_middleware]

    Worker.__init__ = init  # type: ignore[method-assign]


async def _around(call_next: Callable[[], Any], context: JobContext, worker: Worker) -> Any:
    """A worker middleware: the job's context reaches its coroutine, or its thread, with the context variables."""
    token = _running.set(context)
    try:
        return await call_next()
    finally:
        _running.reset(token)
