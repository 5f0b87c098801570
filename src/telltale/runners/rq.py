"""Jobs of RQ (2.6 or newer), by itself or through django-rq.

Reach: wherever its workers are. What Telltale needs travels in the job's `meta`. RQ has no signals, so its
three doors for new jobs, the performing of one, and the place where a worker's parent buries it, are wrapped.

Limits: a job that *returns* `Retry(…)` is shown as succeeded until it begins again; one that raises is
shown as retrying. Plain functions are RQ's if their options says `runner="rq"`; those under RQ's `@job` are anyhow.
"""

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.utils.translation import gettext as _
from rq import Queue, Worker, get_current_job
from rq.command import PUBSUB_CHANNEL_TEMPLATE, send_stop_job_command
from rq.job import Job
from rq.timeouts import JobTimeoutException
from rq.worker import BaseWorker

from telltale import brokers
from telltale.core.states import State
from telltale.dispatch.import_paths import dotted_name, find_task, import_or_none
from telltale.dispatch.runner import OPTIONS_ATTRIBUTE, Call, PendingCall, TaskOptions, options_of, suppress_and_log
from telltale.dispatch.task_header import HEADER, TaskHeader, new_header, sending
from telltale.owners import current_owner

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

logger = logging.getLogger(__name__)


class RQRunner:
    """`queue.enqueue(…)`, `function.delay(…)`, `enqueue_at`, `enqueue_many` and `telltale.enqueue` make the row."""

    name = "rq"
    runs_async = True

    def install(self) -> None:
        """Wrap RQ's doors; harmless when repeated."""
        _wrap(Queue, "create_job", _creating)
        _wrap(Queue, "enqueue_call", _publishing_one)
        _wrap(Queue, "schedule_job", _publishing_scheduled)
        _wrap(Queue, "enqueue_many", _publishing_many)
        _wrap(BaseWorker, "handle_job_failure", _burying)
        _wrap(BaseWorker, "perform_job", _performing)

    def owns(self, task: object) -> bool:
        """Whether RQ's `@job` made it, or its options says so."""
        options = options_of(task)
        return options is not None and (options.runner == self.name or _is_decorated(task))

    def name_of(self, task: Any) -> str:
        """Where it can be imported from."""
        return dotted_name(task)

    def function_of(self, task: Any) -> object:
        """The function itself."""
        return task

    def find(self, name: str) -> object | None:
        """Import it; None if it can't be imported, or is not this runner's."""
        return find_task(name, self.owns)

    def new_id(self) -> str:
        """As RQ makes its own."""
        return str(uuid4())

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """By the task's own `delay`, which knows its queue and options; else to the default queue."""
        with sending(task_id, runner_id=runner_id):
            job = task.delay(*args, **kwargs) if hasattr(task, "delay") else _queue(task).enqueue(task, *args, **kwargs)
        return str(job.id if job is not None else runner_id)

    def enqueue_many(self, task: Any, calls: Sequence[PendingCall]) -> Sequence[str]:
        """In one round trip, with RQ's default options."""
        queue, owner = _queue(task), current_owner()
        datas = [
            Queue.prepare_data(
                task,
                tuple(call.args),
                dict(call.kwargs),
                job_id=call.runner_id,
                meta={HEADER: TaskHeader(task_id=call.task_id, owner=owner).to_json()},
            )
            for call in calls
        ]
        return [str(job.id) for job in queue.enqueue_many(datas)]

    def current_call(self) -> Call | None:
        """The job on top of RQ's stack."""
        job = get_current_job()
        return None if job is None else _call(job)

    def verdict(self, error: BaseException) -> "Verdict | None":
        """A job that has tries left comes again."""
        from telltale import store
        from telltale.worker.run import Verdict

        job = get_current_job()
        words = _("The task took too long and was stopped.") if isinstance(error, JobTimeoutException) else None
        if job is not None and job.should_retry:
            return Verdict(state=State.RETRYING, due_at=store.now() + job.get_retry_interval(), error=words)
        return Verdict(state=State.FAILED, error=words) if words else None

    def convert_cancellation(self, error: BaseException) -> BaseException:
        """RQ files it as failed; what it must not do is try again."""
        job = get_current_job()
        if job is not None:
            job.retries_left = 0
        return error

    def revoke(self, task: object, runner_id: str) -> None:
        """Take it from its queue."""
        Job.fetch(runner_id, connection=_queue(task).connection).cancel()

    def terminate(self, task: object, runner_id: str) -> None:
        """Have its worker kill the work horse."""
        send_stop_job_command(_queue(task).connection, runner_id)

    def ahead(self, task: object, runner_id: str) -> int | None:
        """Its place in its queue; exact."""
        queue = _queue(task)
        job = queue.fetch_job(runner_id)
        if job is None:
            return None
        origin = Queue(job.origin, connection=queue.connection)
        position: int | None = origin.get_job_position(runner_id)
        return position

    def is_listening(self, task: object) -> bool | None:
        """Whether a worker of its queue hears RQ's commands.

        That a worker has registered says little: a killed one stays so for eight minutes, and one that waits
        for work gives no other sign in seven. Its subscription ends with its process.
        """
        connection = _queue(task).connection
        names = [key.removeprefix(Worker.redis_worker_namespace_prefix) for key in Worker.all_keys(queue=_queue(task))]
        heard = connection.pubsub_numsub(*(PUBSUB_CHANNEL_TEMPLATE % name for name in names))
        return any(listeners for _channel, listeners in heard)


def _is_decorated(function: object) -> bool:
    return _decorator(function) is not None


def _decorator(function: object) -> Any:
    """RQ's `@job`, which made the function's `delay`; None if it did not."""
    # `delay` has the name and module of the function itself, so only its globals tell where it is from.
    delay: Any = getattr(function, "delay", None)
    if getattr(delay, "__globals__", {}).get("__name__") != "rq.decorators":
        return None
    return inspect.getclosurevars(delay).nonlocals.get("self")


def _queue(task: object) -> Any:
    """The queue of a task: its decorator's, or the default one by django-rq's settings."""
    queue = getattr(_decorator(task), "queue", None)
    if isinstance(queue, Queue):
        return queue
    from django_rq import get_queue

    return get_queue(queue or "default")


def _mark(job: Job) -> TaskOptions | None:
    # A job may name a method of an object, or a function that is not here.
    if job.instance is not None or not job.func_name:
        return None
    try:
        return options_of(job.func)
    except (ImportError, AttributeError, ValueError):
        return None


def _call(job: Job, due_at: datetime | None = None) -> Call:
    carried = TaskHeader.from_json((job.meta or {}).get(HEADER))
    return Call(
        runner=RQRunner.name,
        runner_id=str(job.id),
        name=str(job.func_name),
        args=job.args or (),
        kwargs=job.kwargs or {},
        task_id=carried.task_id if carried else None,
        owner=carried.owner if carried else None,
        options=_mark(job),
        delivery=job.number_of_retries or 0,
        due_at=due_at.timestamp() if due_at else None,
    )


# The doors


def _wrap(owner: type, name: str, around: Callable[..., Any]) -> None:
    original = getattr(owner, name)
    if hasattr(original, OPTIONS_ATTRIBUTE):
        return

    @wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return around(original, self, *args, **kwargs)

    setattr(method, OPTIONS_ATTRIBUTE, original)
    setattr(owner, name, method)


def _creating(original: Callable[..., Job], self: Queue, func: Any, *args: Any, **kwargs: Any) -> Job:
    """Give the job its birth certificate, before it is stored."""
    carried = None
    function = import_or_none(func) if isinstance(func, str) else func
    if options_of(function) is not None and HEADER not in (kwargs.get("meta") or {}):
        here = get_current_job()
        carried = new_header(TaskHeader.from_json((here.meta or {}).get(HEADER)) if here is not None else None)
        if carried.runner_id is not None:
            kwargs["job_id"] = carried.runner_id
    job = original(self, func, *args, **kwargs)
    if carried is not None:
        job.meta = {**(job.meta or {}), HEADER: carried.to_json()}
    return job


def _publishing_one(original: Callable[..., Any], self: Queue, *args: Any, **kwargs: Any) -> Any:
    job = original(self, *args, **kwargs)
    _published(job)
    return job


def _publishing_scheduled(original: Callable[..., Any], self: Queue, job: Job, *args: Any, **kwargs: Any) -> Any:
    result = original(self, job, *args, **kwargs)
    # A retry with an interval comes this way too; its row is there.
    if not job.number_of_retries:
        _published(job, kwargs.get("datetime") or args[0])
    return result


def _publishing_many(original: Callable[..., Any], self: Queue, *args: Any, **kwargs: Any) -> Any:
    jobs = original(self, *args, **kwargs)
    for job in jobs:
        _published(job)
    return jobs


@suppress_and_log
def _published(job: Job | None, due_at: datetime | None = None) -> None:
    """Make the row once the job is out, so that a failure to enqueue leaves none."""
    from telltale.dispatch.rows import create_row_unless_there

    if job is None:
        return  # django-rq waits for the transaction to commit, and comes through this door then
    carried = TaskHeader.from_json((job.meta or {}).get(HEADER))
    if carried is not None and carried.needs_row:
        create_row_unless_there(_call(job, due_at))


def _performing(original: Callable[..., bool], self: Any, *args: Any, **kwargs: Any) -> bool:
    """A work horse leaves by `os._exit`, which runs nobody's clean-up: what a broker is still sending is sent first."""
    try:
        return original(self, *args, **kwargs)
    finally:
        if self.is_horse:
            _last_words()


@suppress_and_log
def _last_words() -> None:
    brokers.reset()


def _burying(original: Callable[..., Any], self: Any, job: Job, *args: Any, **kwargs: Any) -> Any:
    """In the parent: the work horse was killed, or stopped as somebody asked. In the horse the wrapper has told it."""
    was_stopped = getattr(self, "_stopped_job_id", None) == job.id
    comes_again = job.should_retry and not was_stopped
    result = original(self, job, *args, **kwargs)
    if not self.is_horse and not comes_again:
        _buried(job, was_stopped=was_stopped)
    return result


@suppress_and_log
def _buried(job: Job, *, was_stopped: bool) -> None:
    from telltale.dispatch.rows import end_from_outside

    if _mark(job) is None:
        return
    state = State.CANCELLED if was_stopped else State.LOST
    status = job.get_status(refresh=False)
    end_from_outside(RQRunner.name, str(job.id), state, detail=f"RQ: {status.value if status else 'gone'}")
