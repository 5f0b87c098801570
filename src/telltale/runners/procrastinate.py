"""Jobs of Procrastinate (3.5 or newer), on PostgreSQL, through its Django app or by itself.

Reach: every process with its database. A job carries nothing but its arguments, so its row is found by the job's id.
If both tables are in one database, job and row are committed together. Procrastinate passes arguments by keyword
only, so positional arguments get their names here.

The jobs of a killed worker stay `doing` until a periodic task retries them (`get_stalled_jobs`; see
docs/runners/procrastinate.md). A retried job is the next attempt.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from asgiref.sync import sync_to_async
from procrastinate import exceptions
from procrastinate.job_context import JobContext
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.tasks import Task
from procrastinate.worker import Worker

from telltale.core.states import State
from telltale.dispatch.follow import options_by_name, options_of_task, shown
from telltale.dispatch.patching import patch
from telltale.dispatch.runner import ROW_WAIT_S, Call, PendingCall, TaskOptions, stored_record, suppress_and_log
from telltale.dispatch.task_header import TaskHeader, sending, take_headers

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

MAX_AHEAD: Final = 1_000
"""From here on, a job's position in its queue is not told: all jobs before it must be counted."""

_STATUS: Final = "SELECT status::text AS status FROM procrastinate_jobs WHERE id = %(job_id)s"

_AHEAD: Final = """
    SELECT count(earlier.id) AS ahead
    FROM procrastinate_jobs AS job LEFT JOIN LATERAL (
        SELECT id FROM procrastinate_jobs
        WHERE status = 'todo' AND queue_name = job.queue_name AND id < job.id LIMIT %(most)s
    ) AS earlier ON true
    WHERE job.id = %(job_id)s AND job.status = 'todo' GROUP BY job.id
"""

_running: ContextVar[JobContext | None] = ContextVar("telltale_procrastinate_job", default=None)
"""The context of the job that is running."""


class ProcrastinateRunner:
    """Shows jobs that are deferred by `defer`, `defer_async`, `batch_defer` or `telltale.enqueue`."""

    name = "procrastinate"
    runs_async = True

    def install(self) -> None:
        """Patch Procrastinate, which sends no signals."""
        patch(JobManager, "batch_defer_jobs", _batch_defer_jobs)
        patch(JobManager, "batch_defer_jobs_async", _batch_defer_jobs_async)
        patch(Worker, "__init__", _add_middleware)
        patch(Task, "__call__", _call_task)

    def owns(self, task: object) -> bool:
        """Whether `@app.task` made it."""
        return isinstance(task, Task)

    def name_of(self, task: Any) -> str:
        """The name in its app's registry."""
        return str(task.name)

    def function_of(self, task: Any) -> object:
        """The function beneath `@app.task`."""
        return task.func

    def options_for(self, task: Any) -> TaskOptions | None:
        """Those of the function beneath `@app.task`, or of the task's name."""
        return options_of_task(task.func, str(task.name))

    def find(self, name: str) -> object | None:
        """The task of that name in the Django app's registry."""
        from procrastinate.contrib.django import app

        found: object | None = app.tasks.get(name)
        return found

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Defer the job; the patch links the row to it, in the same transaction."""
        with sending(task_id):
            return str(task.defer(**_keyword_arguments(task, args, kwargs)))

    def enqueue_many(self, task: Any, calls: Sequence[PendingCall]) -> Sequence[str]:
        """Defer all jobs in one statement."""
        with sending(*(call.task_id for call in calls)):
            job_ids = task.batch_defer(*(_keyword_arguments(task, call.args, call.kwargs) for call in calls))
        return [str(job_id) for job_id in job_ids]

    def current_call(self) -> Call | None:
        """The job that this thread or coroutine runs."""
        context = _running.get()
        return None if context is None else _call(context.job, _options_of_job(context.app, context.job))

    def verdict(self, error: BaseException) -> "Verdict | None":
        """Retrying if the task's retry strategy retries the error; also translates `JobAborted`."""
        from telltale.worker.run import Verdict

        context = _running.get()
        task = context.app.tasks.get(context.job.task_name) if context is not None else None
        if context is None or task is None:
            return None
        if isinstance(error, exceptions.JobAborted):
            return Verdict(state=State.CANCELLED)
        retry = task.get_retry_exception(exception=error, job=context.job)
        if retry is None:
            return None
        retry_at = retry.retry_decision.retry_at
        return Verdict(state=State.RETRYING, due_at=retry_at.timestamp() if retry_at else None)

    def convert_cancellation(self, error: BaseException) -> BaseException:
        """`JobAborted`, which Procrastinate never retries."""
        aborted: BaseException = exceptions.JobAborted(str(error))
        return aborted

    def revoke(self, task: Any, runner_id: str) -> None:
        """Cancel the waiting job."""
        task.blueprint.job_manager.cancel_job_by_id(int(runner_id))

    def queue_of(self, task: Any) -> str:
        """The task's queue."""
        return str(task.queue)

    def record(self, runner_id: str, queue: str) -> Any:
        """The job."""
        return stored_record("procrastinate.ProcrastinateJob", pk=runner_id)

    def ahead(self, task: Any, runner_id: str) -> int | None:
        """How many jobs of its queue were deferred before it and still wait, below `MAX_AHEAD`; ignores priorities."""
        found = _query(task, _AHEAD, job_id=int(runner_id), most=MAX_AHEAD)
        return int(found[0]["ahead"]) if found and found[0]["ahead"] < MAX_AHEAD else None

    def has_message(self, task: Any, runner_id: str) -> bool | None:
        """Whether the job is to do. None while it is `doing`: its worker may be about to start it, or was killed."""
        found = _query(task, _STATUS, job_id=int(runner_id))
        status = found[0]["status"] if found else None
        return None if status == Status.DOING.value else status == Status.TODO.value


def _query(task: Any, query: str, **values: Any) -> list[dict[str, Any]]:
    connector = task.blueprint.job_manager.connector.get_sync_connector()
    return list(connector.execute_query_all(query=query, **values))


def _keyword_arguments(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    signature = inspect.signature(task.func)
    # With `pass_context`, Procrastinate passes the first argument.
    bound = signature.bind(None, *args, **kwargs) if task.pass_context else signature.bind(*args, **kwargs)
    names = list(bound.arguments)
    return {name: bound.arguments[name] for name in (names[1:] if task.pass_context else names)}


def _options_of_job(app: Any, job: Job) -> TaskOptions | None:
    task = app.tasks.get(job.task_name)
    return options_by_name(job.task_name) if task is None else options_of_task(task.func, job.task_name)


def _call(job: Job, options: TaskOptions | None) -> Call:
    return Call(
        runner=ProcrastinateRunner.name,
        runner_id=str(job.id),
        name=job.task_name,
        kwargs=job.task_kwargs,
        options=options,
        delivery=job.attempts,
        due_at=job.scheduled_at.timestamp() if job.scheduled_at else None,
        queue=job.queue,
        row_wait_s=ROW_WAIT_S,
    )


# Patches


def _batch_defer_jobs(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    headers = take_headers()
    jobs = original(*args, **kwargs)
    _create_or_complete_rows(jobs, headers)
    return jobs


async def _batch_defer_jobs_async(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    headers = take_headers()
    jobs = await original(*args, **kwargs)
    await sync_to_async(_create_or_complete_rows)(jobs, headers)
    return jobs


@suppress_and_log
def _create_or_complete_rows(jobs: list[Job], headers: Sequence[TaskHeader]) -> None:
    """A job with a header has a row, from `telltale.enqueue`. Without one, Procrastinate's own API deferred it."""
    from procrastinate.contrib.django import app

    from telltale.dispatch.rows import complete_row, create_row_unless_there

    for job, header in zip_longest(jobs, headers):
        options = _options_of_job(app, job)
        if options is None:
            continue
        call = _call(job, options)
        if header is None:
            create_row_unless_there(call)
        else:
            complete_row(header.task_id, runner_id=call.runner_id, due_at=call.due_at)


def _call_task(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    """Show the run of a task that is followed by its name. If its function is async, this returns its coroutine."""
    run = shown(self.func, self.func, str(self.name))
    return original(self, *args, **kwargs) if run is self.func else run(*args, **kwargs)


def _add_middleware(original: Callable[..., None], self: Worker, *args: Any, **kwargs: Any) -> None:
    original(self, *args, **kwargs)
    self.worker_middleware = [_remember_context, *self.worker_middleware]


async def _remember_context(call_next: Callable[[], Any], context: JobContext, worker: Worker) -> Any:
    """A worker middleware that sets the current job, for the job's coroutine or thread."""
    token = _running.set(context)
    try:
        return await call_next()
    finally:
        _running.reset(token)
