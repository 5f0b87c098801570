"""Jobs of RQ (2.6 or newer), by itself or through django-rq.

Reach: every process where its workers run. The job's `meta` carries our header. RQ sends no signals, so the methods by
which jobs are created, published, run and ended are patched (`rq_patches.py`).

Tasks are functions under RQ's `@job`, and plain functions tracked with `runner="rq"`.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from django.conf import settings
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from rq import Queue, Retry, Worker, get_current_job
from rq.command import PUBSUB_CHANNEL_TEMPLATE, send_stop_job_command
from rq.job import Job, JobStatus
from rq.timeouts import JobTimeoutException

from telltale.core.states import State
from telltale.dispatch.follow import options_of_task
from telltale.dispatch.import_paths import FunctionRunner, dotted_name, import_or_none
from telltale.dispatch.runner import Call, PendingCall, TaskOptions, options_of
from telltale.dispatch.task_header import HEADER, TaskHeader, sending
from telltale.owners import current_owner
from telltale.runners import rq_patches
from telltale.runners.rq_jobs import NAME, ReturnedRetry, call_of, options_of_function

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

_OVER: Final = frozenset({JobStatus.FINISHED, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED})


class RQRunner(FunctionRunner):
    """Shows jobs that are enqueued by `delay`, `queue.enqueue`, `enqueue_at`, `enqueue_many` or `telltale.enqueue`."""

    name = NAME
    runs_async = True

    def install(self) -> None:
        """Patch RQ's methods."""
        rq_patches.install()

    def owns(self, task: object) -> bool:
        """Whether it is a function under RQ's `@job` that is shown, or one that is tracked with `runner="rq"`."""
        options = options_of(task)
        if options is not None and options.runner == self.name:
            return True
        return _decorator(task) is not None and options_of_task(task, dotted_name(task)) is not None

    def options_for(self, task: Any) -> TaskOptions | None:
        """Those of the function, or of its dotted name."""
        return options_of_function(task)

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
        return None if job is None else call_of(job)

    def verdict(self, error: BaseException) -> "Verdict | None":
        """Retrying if the job has retries left; also translates RQ's time limit."""
        from telltale import store
        from telltale.worker.run import Verdict

        job = get_current_job()
        if job is not None and isinstance(error, ReturnedRetry):
            return _verdict_of_retry(job, error.retry)
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


def _verdict_of_retry(job: Job, retry: Retry) -> "Verdict":
    """By the rules of RQ's `handle_job_retry`."""
    from telltale import store
    from telltale.worker.run import Verdict

    retries = job.number_of_retries or 0
    if retries and retries >= retry.max:
        return Verdict(state=State.FAILED)
    return Verdict(state=State.RETRYING, due_at=store.now() + Retry.get_interval(retries, retry.intervals))


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
