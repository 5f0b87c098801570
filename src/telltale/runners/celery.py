"""Tasks of Celery (5.5 or newer, message protocol 2), with any pool and any message broker.

Reach: every process where Celery's workers run. The message header "telltale" carries the row's id and owner. So a
worker need not wait for the row: if the publisher's transaction is still open, or its database was unavailable, the
worker creates the row itself.

The wrapper (`tracked`) writes every end that runs Python code, and the worker's main process the others
(`celery_main_process.py`). If a whole worker dies, its leases expire.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from celery import Task, current_app, current_task, signals
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded
from celery.utils import uuid
from django.utils.translation import gettext as _

from telltale.core.states import State
from telltale.dispatch.follow import options_by_name
from telltale.dispatch.patching import patch
from telltale.dispatch.runner import Call, TaskOptions, stored_record, suppress_and_log
from telltale.dispatch.task_header import HEADER, TaskHeader, inherit, new_header
from telltale.dispatch.tracked import wrap
from telltale.owners import current_owner
from telltale.runners import celery_main_process, celery_maps, celery_messages
from telltale.runners.celery_tasks import NAME, header_of, options_of_message, options_of_task
from telltale.runners.reused_ids import header_for

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

PING_S: Final = 1.0
"""How long to wait for workers to answer."""

EXIT_DELAY_S: Final = 0.5
"""How long a child process that is made to exit waits for the main process to write the reason."""

logger = logging.getLogger(__name__)


class CeleryRunner:
    """Shows tasks that are called by `task.delay`, `task.apply_async`, `telltale.enqueue`, or in eager mode."""

    name = NAME

    def install(self) -> None:
        """Connect to the signals of publishers and of workers."""
        signals.before_task_publish.connect(_before_publish, dispatch_uid="telltale.before_publish", weak=False)
        signals.after_task_publish.connect(_after_publish, dispatch_uid="telltale.after_publish", weak=False)
        signals.task_prerun.connect(_start_group, dispatch_uid="telltale.start_group", weak=False)
        signals.worker_process_shutdown.connect(_write_last_ends, dispatch_uid="telltale.last_ends", weak=False)
        celery_main_process.install()
        patch(Task, "replace", _replace)
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
        header = header_of(request)
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
        from telltale.worker.ending import Verdict, is_interruption

        if isinstance(error, Retry):
            return Verdict(state=State.RETRYING, due_at=_retry_time(error.when))
        if isinstance(error, Ignore):
            return Verdict(state=getattr(current_task.request, "telltale_replaced", State.CANCELLED))
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
        if is_interruption(error) and _is_shown_as_retrying():
            return Verdict(state=State.RETRYING)
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


def _is_shown_as_retrying() -> bool:
    """Whether the main process has written that the message will be delivered again."""
    from telltale import store

    rows = store.task_rows().filter(runner=NAME, runner_id=str(current_task.request.id))
    with store.time_limit():
        return bool(rows.filter(state=State.RETRYING.value).exists())


def _replace(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    """`self.replace(…)`, which raises `Ignore`: the task's own work is done, unless its row is handed on."""
    self.request.telltale_replaced = State.SUCCEEDED
    return original(self, *args, **kwargs)


def _will_autoretry(error: BaseException) -> bool:
    """Whether `autoretry_for` will retry the error. Celery decides that later, outside of our wrapper."""
    task = current_task
    if not isinstance(error, tuple(getattr(task, "autoretry_for", ()))):
        return False
    if isinstance(error, tuple(getattr(task, "dont_autoretry_for", ()))):
        return False
    limit = getattr(task, "override_max_retries", getattr(task, "retry_kwargs", {}).get("max_retries"))
    if limit is None:
        limit = task.max_retries
    return limit is None or task.request.retries < limit


# Signals of the publisher


@suppress_and_log
def _before_publish(*, sender: str, headers: dict[str, Any], body: Any, **_: object) -> None:
    """Add our header to the message, unless it has one: as a retry, or from `CeleryRunner.enqueue`."""
    if "id" not in headers or HEADER in headers:
        return
    if options_of_message(sender, body) is None:
        return
    request = current_task.request if current_task else None
    parent = header_of(request) if request is not None else None
    if request is not None and parent is not None and request.id == headers["id"]:
        # `self.replace()`: another task takes over under the same id.
        headers[HEADER] = inherit(parent).to_json()
        request.telltale_replaced = State.RETRYING
        return
    header = new_header(parent)
    if headers.get("replaced_task_nesting") or (headers.get("parent_id") and headers.get("root_id") == headers["id"]):
        # The last task of a canvas that has replaced a task has the id of that one.
        header = header_for(NAME, headers["id"], header)
    headers[HEADER] = header.to_json()


@suppress_and_log
def _after_publish(
    *, sender: str, headers: dict[str, Any], body: Any, routing_key: str | None = None, **_: object
) -> None:
    """Create the row. Not before the message is sent, so that a failure to publish leaves no row."""
    from telltale.dispatch.rows import create_row_unless_there, reschedule

    header = TaskHeader.from_json(headers.get(HEADER))
    options = options_of_message(sender, body)
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
        runner=NAME,
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

    header = header_of(task.request)
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
