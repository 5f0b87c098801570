"""Tasks of Celery (5.5 or newer, message protocol 2), with any pool and any message broker.

Reach: every process where Celery's workers run. The message header "telltale" carries the row's id and owner. So a
worker need not wait for the row: if the publisher's transaction is still open, or its database was unavailable, the
worker creates the row itself.

The wrapper (`tracked`) writes every end that runs Python code. The worker's main process writes the ends of child
processes that were killed or exceeded a hard time limit, and of revoked messages. If a whole worker dies, its leases
expire.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from celery import Task, current_app, current_task, signals
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from celery.utils import uuid
from django.utils.translation import gettext as _

from telltale.core.states import State
from telltale.dispatch.follow import options_by_name
from telltale.dispatch.patching import patch
from telltale.dispatch.runner import ROW_WAIT_S, Call, TaskOptions, options_of, stored_record, suppress_and_log
from telltale.dispatch.task_header import HEADER, TaskHeader, inherit, new_header
from telltale.dispatch.tracked import wrap
from telltale.owners import current_owner
from telltale.runners import celery_maps, celery_messages

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

PING_S: Final = 1.0
"""How long to wait for workers to answer."""

EXIT_DELAY_S: Final = 0.5
"""How long a child process that is made to exit waits for the main process to write the reason."""

logger = logging.getLogger(__name__)

_ending_request: ContextVar[Any] = ContextVar("telltale_celery_ending_request", default=None)
"""The request whose failure, time limit or termination the worker's main process handles."""


class CeleryRunner:
    """Shows tasks that are called by `task.delay`, `task.apply_async`, `telltale.enqueue`, or in eager mode."""

    name = "celery"

    def install(self) -> None:
        """Connect to the signals of publishers and of workers."""
        signals.before_task_publish.connect(_before_publish, dispatch_uid="telltale.before_publish", weak=False)
        signals.after_task_publish.connect(_after_publish, dispatch_uid="telltale.after_publish", weak=False)
        signals.task_prerun.connect(_start_group, dispatch_uid="telltale.start_group", weak=False)
        signals.task_failure.connect(_on_failure, dispatch_uid="telltale.on_failure", weak=False)
        signals.task_revoked.connect(_on_revoked, dispatch_uid="telltale.on_revoked", weak=False)
        signals.task_unknown.connect(_on_unknown, dispatch_uid="telltale.on_unknown", weak=False)
        signals.worker_process_shutdown.connect(_write_last_ends, dispatch_uid="telltale.last_ends", weak=False)
        signals.celeryd_init.connect(_patch_requests, dispatch_uid="telltale.requests", weak=False)
        # Once all tasks are known. The first signal is for publishers and eager mode, the second for workers.
        current_app.on_after_finalize.connect(_wrap_followed_tasks, dispatch_uid="telltale.follow", weak=False)
        signals.celeryd_init.connect(_wrap_followed_tasks, dispatch_uid="telltale.follow", weak=False)

    def owns(self, task: object) -> bool:
        """Whether it is a Celery task, or the proxy of one that `shared_task` returns."""
        return isinstance(task, Task)

    def name_of(self, task: Any) -> str:
        """The name in Celery's registry."""
        return str(task.name)

    def function_of(self, task: Any) -> object:
        """The task's function as it was before Celery wrapped it for `autoretry_for`."""
        return getattr(task, "_orig_run", task.run)

    def options_for(self, task: Any) -> TaskOptions | None:
        """Those of the task's function, or of the task's name."""
        return options_of_task(task) or options_by_name(str(task.name))

    def find(self, name: str) -> object | None:
        """The task of that name in the current app's registry."""
        found: object | None = current_app.tasks.get(name)
        return found

    def new_id(self) -> str:
        """An id like Celery's own."""
        return str(uuid())

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Publish the task's message, with its header."""
        header = TaskHeader(task_id=task_id, owner=current_owner()).to_json()
        return str(task.apply_async(args, kwargs, task_id=runner_id, headers={HEADER: header}).id)

    def revoke(self, task: object, runner_id: str) -> None:
        """Have the workers that listen now skip the task; workers that start later find its row cancelled."""
        current_app.control.revoke(runner_id)

    def terminate(self, task: object, runner_id: str) -> None:
        """Have the worker end the process or greenlet of the run. Pools other than prefork and gevent only log it."""
        current_app.control.revoke(runner_id, terminate=True)

    def is_listening(self, task: Any) -> bool | None:
        """Whether a worker consumes the task's queue. Blocks for `PING_S` if none answers."""
        queue = self.queue_of(task)
        queues_by_worker = current_app.control.inspect(timeout=PING_S).active_queues() or {}
        return any(consumed["name"] == queue for queues in queues_by_worker.values() for consumed in queues)

    def has_message(self, task: object, runner_id: str) -> bool | None:
        """Whether a queue of Redis has the message; None with other message brokers."""
        return celery_messages.has_message(runner_id)

    def queue_of(self, task: Any) -> str:
        """The queue by the task's options and Celery's routes."""
        route = current_app.amqp.router.route(dict(task.options if hasattr(task, "options") else {}), task.name)
        return str(getattr(route.get("queue"), "name", route.get("queue")) or current_app.conf.task_default_queue)

    def record(self, runner_id: str, queue: str) -> Any:
        """The stored result of django-celery-results."""
        return stored_record("django_celery_results.TaskResult", task_id=runner_id)

    def redelivers(self, task: Any) -> bool:
        """Whether the task is acknowledged late, so that its message broker keeps it while it runs."""
        return bool(task.acks_late)

    def current_call(self) -> Call | None:
        """The task on top of Celery's task stack; None if it was called as a plain function."""
        request = current_task.request if current_task else None
        if request is None or request.called_directly or request.id is None:
            return None
        header = _header_of(request)
        if header is None and current_task.name in celery_maps.MAP_TASKS:
            return None  # The task that the map calls is not tracked.
        return Call(
            runner=self.name,
            runner_id=str(request.id),
            name=str(current_task.name),
            args=request.args or (),
            kwargs=request.kwargs or {},
            task_id=header.task_id if header else None,
            options=options_of_task(current_task),
            delivery=request.retries or 0,
            owner=header.owner if header else None,
        )

    def verdict(self, error: BaseException) -> "Verdict | None":
        """Translate Celery's own exceptions, such as `Retry` and `Ignore`."""
        from telltale.worker.run import Verdict

        if isinstance(error, Retry):
            return Verdict(state=State.RETRYING, due_at=_retry_time(error.when))
        if isinstance(error, Ignore):
            return Verdict(state=State.RETRYING if _is_replaced() else State.CANCELLED)
        text = _("The task took too long and was stopped.") if isinstance(error, SoftTimeLimitExceeded) else None
        # Before the others, as in Celery: `autoretry_for=(Exception,)` includes them.
        if _will_autoretry(error):
            return Verdict(state=State.RETRYING, error=text)
        if isinstance(error, Reject):
            return Verdict(state=State.RETRYING if error.requeue else State.FAILED)
        if text is not None:
            return Verdict(state=State.FAILED, error=text)
        if isinstance(error, SystemExit):
            # If the run was terminated, the main process is writing that now. Else the worker is shutting down.
            time.sleep(EXIT_DELAY_S)
        return None

    def convert_cancellation(self, error: BaseException) -> BaseException:
        """Mark the task as revoked in Celery's result backend, and return `Ignore`, which Celery never retries."""
        request = current_task.request
        if not request.is_eager:
            try:
                current_task.backend.mark_as_revoked(
                    request.id, str(error), request=request, store_result=not current_task.ignore_result
                )
            except Exception as backend_error:
                logger.warning(
                    "Celery's result backend can't store that %s was cancelled: %r", request.id, backend_error
                )
        ignored: BaseException = Ignore(str(error))
        return ignored


def options_of_task(task: Any) -> TaskOptions | None:
    """The options of a Celery task's function, also where Celery has wrapped it for `autoretry_for`."""
    return options_of(getattr(task, "_orig_run", None)) or options_of(getattr(task, "run", None))


def _options_of_message(name: str, body: Any) -> TaskOptions | None:
    """The options of the task that a message calls; by its name if this process does not know the task."""
    _args, kwargs, *_embedded = body
    name = celery_maps.mapped_task(name, kwargs) or name
    task = current_app.tasks.get(name)
    return (options_of_task(task) if task is not None else None) or options_by_name(name)


def _header_of(request: Any) -> TaskHeader | None:
    return TaskHeader.from_json(getattr(request, HEADER, None) or (request.headers or {}).get(HEADER))


@suppress_and_log
def _wrap_followed_tasks(**_ignored: object) -> None:
    """Wrap the tasks that are followed by their names, and Celery's own `map` and `starmap`."""
    for name, task in current_app.tasks.items():
        if options_of_task(task) is not None:
            continue
        if name in celery_maps.MAP_TASKS:
            task.run = wrap(celery_maps.with_progress(task.run), celery_maps.MAP_OPTIONS)
        elif options := options_by_name(name):
            task.run = wrap(task.run, options)


# How a run ends


def _retry_time(when: object) -> float | None:
    """`Retry.when`, a date or a number of seconds from now, in seconds since 1970."""
    from telltale import store

    if isinstance(when, datetime):
        return _timestamp(when)
    return store.now() + when if isinstance(when, int | float) else None


def _timestamp(eta: datetime) -> float:
    """In seconds since 1970. Celery takes a naive date for UTC."""
    return (eta if eta.tzinfo else eta.replace(tzinfo=UTC)).timestamp()


def _is_replaced() -> bool:
    return bool(getattr(current_task.request, "telltale_replaced", False))


def _will_autoretry(error: BaseException) -> bool:
    """Whether `autoretry_for` will retry the error. Celery decides that later, outside of our wrapper."""
    task = current_task
    if not isinstance(error, tuple(getattr(task, "autoretry_for", ()))):
        return False
    if isinstance(error, tuple(getattr(task, "dont_autoretry_for", ()))):
        return False
    limit = getattr(task, "retry_kwargs", {}).get("max_retries", task.max_retries)
    limit = getattr(task, "override_max_retries", limit)
    return limit is None or task.request.retries < limit


# Signals of the publisher


@suppress_and_log
def _before_publish(*, sender: str, headers: dict[str, Any], body: Any, **_: object) -> None:
    """Add our header to the message, unless it has one: as a retry, or from `CeleryRunner.enqueue`."""
    if "id" not in headers or HEADER in headers:
        return
    if _options_of_message(sender, body) is None:
        return
    request = current_task.request if current_task else None
    parent = _header_of(request) if request is not None else None
    if request is not None and parent is not None and request.id == headers["id"]:
        # `self.replace()`: another task takes over under the same id.
        headers[HEADER] = inherit(parent).to_json()
        request.telltale_replaced = True
        return
    headers[HEADER] = new_header(parent).to_json()


@suppress_and_log
def _after_publish(
    *, sender: str, headers: dict[str, Any], body: Any, routing_key: str | None = None, **_: object
) -> None:
    """Create the row. Not before the message is sent, so that a failure to publish leaves no row."""
    from telltale.dispatch.rows import create_row_unless_there, reschedule

    header = TaskHeader.from_json(headers.get(HEADER))
    options = _options_of_message(sender, body)
    if options is None or header is None:
        return
    due_at = _timestamp(datetime.fromisoformat(headers["eta"])) if headers.get("eta") else None
    if headers.get("retries"):
        # `autoretry_for` computes its delay after our wrapper has returned, so only the message has the time.
        if due_at is not None:
            reschedule(header.task_id, due_at, runner_id=str(headers["id"]))
        return
    if not header.needs_row:
        return
    args, kwargs, *_embedded = body
    call = Call(
        runner=CeleryRunner.name,
        runner_id=str(headers["id"]),
        name=sender,
        args=args,
        kwargs=kwargs,
        task_id=header.task_id,
        options=options,
        owner=header.owner,
        due_at=due_at,
        queue=str(routing_key or ""),  # By Celery's defaults, a queue is bound by its name.
    )
    create_row_unless_there(call)


# Signals of the worker


@suppress_and_log
def _start_group(*, task: Any, **_ignored: object) -> None:
    """A group starts with the first of its members."""
    from telltale import store
    from telltale.messages import announce

    header = _header_of(task.request)
    if header is None or header.group is None:
        return
    with store.time_limit():
        changed = store.start_group(header.group, member_id=header.task_id)
    announce(changed.envelopes if changed else [])


@suppress_and_log
def _write_last_ends(**_ignored: object) -> None:
    """In a child process that exits: it skips Python's exit handlers."""
    from telltale.worker.reporter import reporter

    reporter().saver.write_last_ends()


def _patch_requests(**_ignored: object) -> None:
    """Remember the request whose end the main process handles: the signals don't carry it."""
    from celery.worker.request import Request

    for name in ("on_failure", "on_timeout", "terminate"):
        patch(Request, name, _handle_end)


def _handle_end(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    token = _ending_request.set(self)
    try:
        return original(self, *args, **kwargs)
    finally:
        _ending_request.reset(token)


def _pids_of_ending_request() -> list[int]:
    """The processes of which one ran the request: the child process, or this one, whose pool has greenlets."""
    pid = getattr(_ending_request.get(), "worker_pid", None)
    return [] if pid is None else [pid, os.getpid()]


@suppress_and_log
def _on_failure(*, sender: Any, task_id: str, exception: BaseException, **_ignored: object) -> None:
    """In the main process: a child process was killed or exceeded its time limit. In a child the row has ended."""
    from telltale.dispatch.rows import end_from_outside

    if options_of_task(sender) is None:
        return
    if isinstance(exception, WorkerLostError):
        end_from_outside(CeleryRunner.name, task_id, State.LOST, pids=_pids_of_ending_request(), detail=str(exception))
    elif isinstance(exception, TimeLimitExceeded):
        text = _("The task took too long and was stopped.")
        end_from_outside(
            CeleryRunner.name,
            task_id,
            State.FAILED,
            pids=_pids_of_ending_request(),
            error=text,
            detail=str(exception),
        )


@suppress_and_log
def _on_revoked(*, sender: Any, request: Any, expired: bool, terminated: bool, **_ignored: object) -> None:
    """In the main process: a message was received that is revoked or has expired, or its run was terminated."""
    from telltale.dispatch.rows import end_from_outside

    if options_of_task(sender) is None:
        return
    if expired:
        text = _("The task expired before a worker was free.")
        end_from_outside(CeleryRunner.name, str(request.id), State.FAILED, error=text)
    else:
        pids = _pids_of_ending_request() if terminated else []
        end_from_outside(CeleryRunner.name, str(request.id), State.CANCELLED, pids=pids)


@suppress_and_log
def _on_unknown(*, name: str, id: str, message: Any, exc: BaseException, **_ignored: object) -> None:
    """In the main process: the message was discarded, because the worker has no task of that name."""
    from telltale.dispatch.rows import end_from_outside, find_row

    header = TaskHeader.from_json(message.headers.get(HEADER))
    if header is None:
        return
    # The worker may be faster than the publisher, which creates the row after it has sent the message.
    call = Call(runner=CeleryRunner.name, runner_id=id, name=name, task_id=header.task_id, row_wait_s=ROW_WAIT_S)
    if find_row(call) is not None:
        text = _("The worker does not know this task.")
        end_from_outside(call.runner, id, State.FAILED, error=text, detail=repr(exc))
