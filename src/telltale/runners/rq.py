"""Jobs of RQ (2.6 or newer), by itself or through django-rq.

Reach: every process where its workers run. The job's `meta` carries our header. RQ sends no signals, so eight of its
methods are patched: those that create, publish and perform jobs, the one that waits for a work horse, and the one that
handles a job's failure.

Limits: a job that *returns* `Retry(…)` is shown as succeeded until it starts again; one that raises an error is shown
as retrying. Tasks are functions under RQ's `@job`, and plain functions tracked with `runner="rq"`.
"""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from django.conf import settings
from django.db import transaction
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from rq import Queue, Worker, get_current_job
from rq.command import PUBSUB_CHANNEL_TEMPLATE, send_stop_job_command
from rq.job import Job, JobStatus
from rq.timeouts import JobTimeoutException
from rq.worker import BaseWorker

from telltale import brokers, conf
from telltale.core.states import State
from telltale.dispatch.follow import options_of_task, shown
from telltale.dispatch.import_paths import FunctionRunner, dotted_name, import_or_none
from telltale.dispatch.patching import patch
from telltale.dispatch.runner import Call, PendingCall, TaskOptions, options_of, suppress_and_log
from telltale.dispatch.task_header import HEADER, TaskHeader, new_header, sending
from telltale.owners import current_owner

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

_horse_pid: ContextVar[int] = ContextVar("telltale_rq_horse_pid", default=0)
"""The work horse for which this worker waits; 0 if there is none."""


_OVER: Final = frozenset({JobStatus.FINISHED, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED})


class RQRunner(FunctionRunner):
    """Shows jobs that are enqueued by `delay`, `queue.enqueue`, `enqueue_at`, `enqueue_many` or `telltale.enqueue`."""

    name = "rq"
    runs_async = True

    def install(self) -> None:
        """Patch RQ's methods."""
        patch(Queue, "create_job", _create_job)
        patch(Queue, "enqueue_call", _enqueue_call)
        patch(Queue, "schedule_job", _schedule_job)
        patch(Queue, "enqueue_many", _enqueue_many)
        patch(Job, "_execute", _execute_job)
        patch(BaseWorker, "perform_job", _perform_job)
        patch(Worker, "monitor_work_horse", _monitor_work_horse)
        patch(BaseWorker, "handle_job_failure", _handle_job_failure)

    def owns(self, task: object) -> bool:
        """Whether it is a function under RQ's `@job` that is shown, or one that is tracked with `runner="rq"`."""
        options = options_of(task)
        if options is not None and options.runner == self.name:
            return True
        return _decorator(task) is not None and options_of_task(task, dotted_name(task)) is not None

    def options_for(self, task: Any) -> TaskOptions | None:
        """Those of the function, or of its dotted name."""
        return _options_of_function(task)

    def find(self, name: str) -> object | None:
        """The function of that dotted name, if it is shown; None if it can't be imported, or is another runner's."""
        function = import_or_none(name)
        is_followed = options_of(function) is None and options_of_task(function, name) is not None
        return function if callable(function) and is_followed else super().find(name)

    def new_id(self) -> str:
        """An id like RQ's own."""
        return str(uuid4())

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Call the task's `delay`, which knows its queue and options; without one, use the default queue."""
        with sending(task_id, runner_id=runner_id):
            job = task.delay(*args, **kwargs) if hasattr(task, "delay") else _queue(task).enqueue(task, *args, **kwargs)
        return str(job.id if job is not None else runner_id)

    def enqueue_many(self, task: Any, calls: Sequence[PendingCall]) -> Sequence[str]:
        """Enqueue all jobs in one round trip, with RQ's default options."""
        owner = current_owner()
        job_data = [
            Queue.prepare_data(
                task,
                tuple(call.args),
                dict(call.kwargs),
                job_id=call.runner_id,
                meta={HEADER: TaskHeader(task_id=call.task_id, owner=owner).to_json()},
            )
            for call in calls
        ]
        return [str(job.id) for job in _queue(task).enqueue_many(job_data)]

    def current_call(self) -> Call | None:
        """The job on top of RQ's job stack."""
        job = get_current_job()
        return None if job is None else _call(job)

    def verdict(self, error: BaseException) -> "Verdict | None":
        """Retrying if the job has retries left; also translates RQ's time limit."""
        from telltale import store
        from telltale.worker.run import Verdict

        job = get_current_job()
        text = _("The task took too long and was stopped.") if isinstance(error, JobTimeoutException) else None
        if job is not None and job.should_retry:
            return Verdict(state=State.RETRYING, due_at=store.now() + job.get_retry_interval(), error=text)
        return Verdict(state=State.FAILED, error=text) if text else None

    def convert_cancellation(self, error: BaseException) -> BaseException:
        """The error itself. RQ records a failure, so the job's retries are removed."""
        job = get_current_job()
        if job is not None:
            job.retries_left = 0
        return error

    def revoke(self, task: object, runner_id: str) -> None:
        """Remove the job from its queue."""
        Job.fetch(runner_id, connection=_queue(task).connection).cancel()

    def queue_of(self, task: object) -> str:
        """The queue of the task's decorator, or django-rq's default."""
        queue = getattr(_decorator(task), "queue", None) or "default"
        return str(getattr(queue, "name", queue))

    def record(self, runner_id: str, queue: str) -> Any:
        """The address of the job's page in the admin of django-rq."""
        names = sorted(getattr(settings, "RQ_QUEUES", {}))  # django-rq numbers them in this order.
        if queue not in names:
            return None
        try:
            return reverse("admin:django_rq_job_detail", args=[names.index(queue), runner_id])
        except NoReverseMatch:
            return None

    def terminate(self, task: object, runner_id: str) -> None:
        """Have the worker kill the work horse, its child process that runs the job."""
        send_stop_job_command(_queue(task).connection, runner_id)

    def ahead(self, task: object, runner_id: str) -> int | None:
        """The job's exact position in its queue."""
        job = _job(task, runner_id)
        if job is None:
            return None
        origin = Queue(job.origin, connection=job.connection)
        position: int | None = origin.get_job_position(runner_id)
        return position

    def has_message(self, task: object, runner_id: str) -> bool | None:
        """Whether the job waits. One that depends on a job that failed will not begin, unless that one is repeated."""
        job = _job(task, runner_id)
        status = job.get_status() if job is not None else None
        if job is None or status is None or status in _OVER:
            return False
        if status is JobStatus.STARTED:
            return None  # RQ itself notices within ten minutes that a worker was killed.
        if status is not JobStatus.DEFERRED:
            return True
        bad = {JobStatus.CANCELED, JobStatus.STOPPED, *([] if job.allow_dependency_failures else [JobStatus.FAILED])}
        return not any(dependency.get_status() in bad for dependency in job.fetch_dependencies())

    def is_listening(self, task: object) -> bool | None:
        """Whether a worker of its queue is subscribed to RQ's commands.

        The registration of a worker is no proof: that of a killed worker stays for eight minutes, and an idle worker
        renews its own only every seven. The subscription ends with the worker's process.
        """
        connection = _queue(task).connection
        names = [key.removeprefix(Worker.redis_worker_namespace_prefix) for key in Worker.all_keys(queue=_queue(task))]
        subscriptions = connection.pubsub_numsub(*(PUBSUB_CHANNEL_TEMPLATE % name for name in names))
        return any(subscribers for _channel, subscribers in subscriptions)


def _decorator(function: object) -> Any:
    """RQ's `@job` object that made the function's `delay`; None if there is none."""
    # `delay` has the name and module of the function itself. Only its globals are those of RQ.
    delay: Any = getattr(function, "delay", None)
    if getattr(delay, "__globals__", {}).get("__name__") != "rq.decorators":
        return None
    return inspect.getclosurevars(delay).nonlocals.get("self")


def _queue(task: object) -> Any:
    """The queue of a task: its decorator's, or the default queue of django-rq's settings."""
    queue = getattr(_decorator(task), "queue", None)
    if isinstance(queue, Queue):
        return queue
    from django_rq import get_queue

    return get_queue(queue or "default")


def _job(task: object, runner_id: str) -> Job | None:
    """The job, in whichever queue it is; None if there is none. `Queue.fetch_job` finds only those of its own queue."""
    [job] = Job.fetch_many([runner_id], connection=_queue(task).connection)
    return job


def _options_of_job(job: Job) -> TaskOptions | None:
    # A job may call a method of an object, or a function that this process can't import.
    if job.instance is not None or not job.func_name:
        return None
    try:
        return options_of_task(job.func, str(job.func_name))
    except (ImportError, AttributeError, ValueError):
        return None


def _options_of_function(function: Any) -> TaskOptions | None:
    """The options of a function that is to be enqueued: the function, or its dotted name."""
    if isinstance(function, str):
        return options_of_task(import_or_none(function), function)
    return options_of_task(function, dotted_name(function)) if inspect.isroutine(function) else options_of(function)


def _header_of(job: Job) -> TaskHeader | None:
    return TaskHeader.from_json((job.meta or {}).get(HEADER))


def _call(job: Job, due_at: datetime | None = None) -> Call:
    header = _header_of(job)
    return Call(
        runner=RQRunner.name,
        runner_id=str(job.id),
        name=str(job.func_name),
        args=job.args or (),
        kwargs=job.kwargs or {},
        task_id=header.task_id if header else None,
        owner=header.owner if header else None,
        options=_options_of_job(job),
        delivery=job.number_of_retries or 0,
        due_at=due_at.timestamp() if due_at else None,
        queue=str(job.origin or ""),
    )


# Patches of `Queue`


def _create_job(original: Callable[..., Job], self: Queue, func: Any, *args: Any, **kwargs: Any) -> Job:
    """Add our header to the job, before it is stored."""
    header = None
    if _options_of_function(func) is not None and HEADER not in (kwargs.get("meta") or {}):
        parent = get_current_job()
        header = new_header(_header_of(parent) if parent is not None else None)
        if header.runner_id is not None:
            kwargs["job_id"] = header.runner_id
    job = original(self, func, *args, **kwargs)
    if header is not None:
        job.meta = {**(job.meta or {}), HEADER: header.to_json()}
    return job


def _enqueue_call(original: Callable[..., Any], self: Queue, *args: Any, **kwargs: Any) -> Any:
    job = original(self, *args, **kwargs)
    _create_row(job)
    return job


def _schedule_job(original: Callable[..., Any], self: Queue, job: Job, *args: Any, **kwargs: Any) -> Any:
    result = original(self, job, *args, **kwargs)
    # RQ also schedules retries with an interval; their row exists.
    if not job.number_of_retries:
        _create_row(job, kwargs.get("datetime") or args[0])
    return result


def _enqueue_many(original: Callable[..., Any], self: Queue, *args: Any, **kwargs: Any) -> Any:
    jobs = original(self, *args, **kwargs)
    for job in jobs:
        _create_row(job)
    return jobs


@suppress_and_log
def _create_row(job: Job | None, due_at: datetime | None = None) -> None:
    """Create the row. Not before the job is enqueued, so that a failure to enqueue leaves no row."""
    from telltale.dispatch.rows import create_row_unless_there
    from telltale.worker.outside import is_in_site_transaction

    if job is None:
        return  # django-rq enqueues the job when the transaction commits, and this is called again then.
    header = _header_of(job)
    if header is None or not header.needs_row:
        return
    create_row = partial(create_row_unless_there, _call(job, due_at))
    if is_in_site_transaction():
        # The work horse creates the row if it is faster. It exits after its job, so it can't wait for this transaction.
        transaction.on_commit(create_row, using=conf.settings().database, robust=True)
    else:
        create_row()


# Patches of `Job` and `BaseWorker`


def _execute_job(original: Callable[..., Any], self: Job) -> Any:
    """Show the run of a job that is followed by its name."""
    if self.instance is not None:
        return original(self)
    return shown(original, self.func, str(self.func_name))(self)


def _perform_job(original: Callable[..., bool], self: Any, *args: Any, **kwargs: Any) -> bool:
    """Write and send what is left over: a work horse leaves by `os._exit`, which skips all exit handlers."""
    try:
        return original(self, *args, **kwargs)
    finally:
        if self.is_horse:
            _write_last_ends()
            _close_broker()


@suppress_and_log
def _write_last_ends() -> None:
    from telltale.worker.reporter import reporter

    reporter().saver.write_last_ends()


@suppress_and_log
def _close_broker() -> None:
    brokers.reset()


def _monitor_work_horse(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    """Remember the work horse's process. RQ forgets it before it reports the job's failure."""
    token = _horse_pid.set(self.horse_pid)
    try:
        return original(self, *args, **kwargs)
    finally:
        _horse_pid.reset(token)


def _handle_job_failure(original: Callable[..., Any], self: Any, job: Job, *args: Any, **kwargs: Any) -> Any:
    """In the worker's main process: the work horse was killed, or stopped by a command.

    In the work horse the wrapper has written the end.
    """
    was_stopped = getattr(self, "_stopped_job_id", None) == job.id
    will_retry = job.should_retry and not was_stopped
    result = original(self, job, *args, **kwargs)
    if not self.is_horse and not will_retry:
        _end(job, was_stopped=was_stopped)
    return result


@suppress_and_log
def _end(job: Job, *, was_stopped: bool) -> None:
    from telltale.dispatch.rows import end_from_outside

    if _options_of_job(job) is None:
        return
    state = State.CANCELLED if was_stopped else State.LOST
    status = job.get_status(refresh=False)
    # Without a work horse, the worker's own process ran the job.
    pids = [_horse_pid.get() or os.getpid()]
    detail = f"RQ: {status.value if status else 'gone'}"
    end_from_outside(RQRunner.name, str(job.id), state, pids=pids, detail=detail)
