"""Tasks of Celery (5.5 or newer, message protocol 2), any pool, any message broker.

Reach: wherever its workers are. What Telltale needs travels in the message's header "telltale": the row's
id and whose it is. So a worker that is quicker than the asker, or an asker whose transaction is still
open or whose database is away, costs nothing: whoever comes first makes the row.

The wrapper (`tracked`) tells every end that runs Python. The worker's parent tells of children that were
killed or ran out of time, and of revoked messages. A whole worker that dies is the lease's to tell.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from celery import Task, current_app, current_task, signals
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from celery.utils import uuid
from django.utils.translation import gettext as _

from telltale.core.states import State
from telltale.dispatch.follow import options_by_name
from telltale.dispatch.runner import Call, TaskOptions, options_of, suppress_and_log
from telltale.dispatch.task_header import HEADER, TaskHeader, inherit, new_header
from telltale.dispatch.tracked import wrap
from telltale.owners import current_owner
from telltale.runners import celery_maps

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

PING_S: Final = 1.0
"""How long a worker may take to answer whether it is there."""

PARENTS_WORD_S: Final = 0.5
"""How long a child that is made to exit leaves it to its parent to say why."""

ROW_WAIT_S: Final = 0.5
"""A worker may refuse a message before its publisher has made the row; that then comes in milliseconds."""

logger = logging.getLogger(__name__)


class CeleryRunner:
    """`task.delay(…)`, `task.apply_async(…)`, `telltale.enqueue(task, …)` and eager mode all make the row."""

    name = "celery"

    def install(self) -> None:
        """Connect to the publisher's signals and to those of the worker's parent."""
        signals.before_task_publish.connect(_before_publish, dispatch_uid="telltale.before", weak=False)
        signals.after_task_publish.connect(_after_publish, dispatch_uid="telltale.after", weak=False)
        signals.task_prerun.connect(_begins, dispatch_uid="telltale.begins", weak=False)
        signals.task_failure.connect(_failed, dispatch_uid="telltale.failed", weak=False)
        signals.task_revoked.connect(_revoked, dispatch_uid="telltale.revoked", weak=False)
        signals.task_unknown.connect(_unknown, dispatch_uid="telltale.unknown", weak=False)
        # Once all tasks are there: in a process that only publishes or runs them on the spot, and in a worker.
        current_app.on_after_finalize.connect(_follow, dispatch_uid="telltale.follow", weak=False)
        signals.celeryd_init.connect(_follow, dispatch_uid="telltale.follow", weak=False)

    def owns(self, task: object) -> bool:
        """Whether it is a Celery task (also behind `shared_task`'s proxy)."""
        return isinstance(task, Task)

    def name_of(self, task: Any) -> str:
        """The name in Celery's registry."""
        return str(task.name)

    def function_of(self, task: Any) -> object:
        """What `run` was before Celery wrapped it for `autoretry_for`."""
        return getattr(task, "_orig_run", task.run)

    def find(self, name: str) -> object | None:
        """From the present app's registry."""
        found: object | None = current_app.tasks.get(name)
        return found

    def new_id(self) -> str:
        """One of Celery's own kind."""
        return str(uuid())

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Publish it."""
        header = TaskHeader(task_id=task_id, owner=current_owner()).to_json()
        return str(task.apply_async(args, kwargs, task_id=runner_id, headers={HEADER: header}).id)

    def revoke(self, task: object, runner_id: str) -> None:
        """Have the workers that listen now skip it; others find the row cancelled."""
        current_app.control.revoke(runner_id)

    def terminate(self, task: object, runner_id: str) -> None:
        """Have its worker end the child that runs it; prefork and gevent pools can, others log that they can't."""
        current_app.control.revoke(runner_id, terminate=True)

    def is_listening(self, task: Any) -> bool | None:
        """Whether any worker consumes the task's queue; takes a second if none does."""
        route = current_app.amqp.router.route(dict(task.options if hasattr(task, "options") else {}), task.name)
        queue = getattr(route.get("queue"), "name", route.get("queue")) or current_app.conf.task_default_queue
        answers = current_app.control.inspect(timeout=PING_S).active_queues() or {}
        return any(listened["name"] == queue for queues in answers.values() for listened in queues)

    def redelivers(self, task: Any) -> bool:
        """Whether it is acknowledged late: then the broker has kept it."""
        return bool(task.acks_late)

    def current_call(self) -> Call | None:
        """The task on top of Celery's own stack, unless it was called as a plain function."""
        request = current_task.request if current_task else None
        if request is None or request.called_directly or request.id is None:
            return None
        carried = _carried(request)
        if carried is None and current_task.name in celery_maps.NAMES:
            return None  # what it calls is not tracked
        return Call(
            runner=self.name,
            runner_id=str(request.id),
            name=str(current_task.name),
            args=request.args or (),
            kwargs=request.kwargs or {},
            task_id=carried.task_id if carried else None,
            options=_mark(current_task),
            delivery=request.retries or 0,
            owner=carried.owner if carried else None,
        )

    def verdict(self, error: BaseException) -> "Verdict | None":
        """Celery says more by exceptions than that something failed."""
        from telltale.worker.run import Verdict

        if isinstance(error, Retry):
            return Verdict(state=State.RETRYING, due_at=_instant(error.when))
        if isinstance(error, Reject):
            return Verdict(state=State.RETRYING if error.requeue else State.FAILED)
        if isinstance(error, Ignore):
            return Verdict(state=State.RETRYING if _is_replaced() else State.CANCELLED)
        if isinstance(error, SoftTimeLimitExceeded):
            return Verdict(state=State.FAILED, error=_("The task took too long and was stopped."))
        if _will_autoretry(error):
            return Verdict(state=State.RETRYING)
        if isinstance(error, SystemExit):
            # Either it was terminated, which its parent is telling this moment, or all is being shut down.
            time.sleep(PARENTS_WORD_S)
        return None

    def convert_cancellation(self, error: BaseException) -> BaseException:
        """What Celery is to see in place of a cancellation: a revoked task, which nothing retries."""
        request = current_task.request
        if not request.is_eager:
            try:
                current_task.backend.mark_as_revoked(
                    request.id, str(error), request=request, store_result=not current_task.ignore_result
                )
            except Exception as trouble:
                logger.warning("Celery's result store can't take that %s was cancelled: %r", request.id, trouble)
        ignored: BaseException = Ignore(str(error))
        return ignored


def _mark(task: Any) -> TaskOptions | None:
    return options_of(getattr(task, "_orig_run", None)) or options_of(getattr(task, "run", None))


def _mark_of_message(name: str, body: Any) -> TaskOptions | None:
    """Also of a task that this process does not have, if its name is followed."""
    _args, kwargs, *_embedded = body
    name = celery_maps.element_of(name, kwargs) or name
    task = current_app.tasks.get(name)
    return (_mark(task) if task is not None else None) or options_by_name(name)


@suppress_and_log
def _follow(**_ignored: object) -> None:
    """Wrap the tasks that are followed by their names."""
    for name, task in current_app.tasks.items():
        if _mark(task) is not None:
            continue
        if name in celery_maps.NAMES:
            task.run = wrap(celery_maps.counting(task.run), celery_maps.MARK_OF_MAPS)
        elif options := options_by_name(name):
            task.run = wrap(task.run, options)


def _carried(request: Any) -> TaskHeader | None:
    return TaskHeader.from_json(getattr(request, HEADER, None) or (request.headers or {}).get(HEADER))


def _instant(when: object) -> float | None:
    """`Retry.when`, a countdown or a date, as an instant of the store's clock."""
    from telltale import store

    if isinstance(when, datetime):
        return when.timestamp()
    return store.now() + when if isinstance(when, int | float) else None


def _is_replaced() -> bool:
    return bool(getattr(current_task.request, "telltale_replaced", False))


def _will_autoretry(error: BaseException) -> bool:
    """Whether `autoretry_for`, which wraps the wrapper and is thus asked later, will take the error."""
    task = current_task
    if not isinstance(error, tuple(getattr(task, "autoretry_for", ()))):
        return False
    if isinstance(error, tuple(getattr(task, "dont_autoretry_for", ()))):
        return False
    limit = getattr(task, "retry_kwargs", {}).get("max_retries", task.max_retries)
    limit = getattr(task, "override_max_retries", limit)
    return limit is None or task.request.retries < limit


@suppress_and_log
def _before_publish(*, sender: str, headers: dict[str, Any], body: Any, **_: object) -> None:
    """Give the message its birth certificate, unless it is a retry's or our own and so has one."""
    if "id" not in headers or HEADER in headers:
        return
    if _mark_of_message(sender, body) is None:
        return
    request = current_task.request if current_task else None
    parent = _carried(request) if request is not None else None
    if request is not None and parent is not None and request.id == headers["id"]:
        # `self.replace()`: another task takes over under the same id.
        headers[HEADER] = inherit(parent).to_json()
        request.telltale_replaced = True
        return
    headers[HEADER] = new_header(parent).to_json()


@suppress_and_log
def _after_publish(*, sender: str, headers: dict[str, Any], body: Any, **_: object) -> None:
    """Make the row once the message is out, so that a failure to publish leaves none."""
    from telltale.dispatch.rows import create_row_unless_there

    carried = TaskHeader.from_json(headers.get(HEADER))
    options = _mark_of_message(sender, body)
    if options is None or carried is None:
        return
    due_at = datetime.fromisoformat(headers["eta"]).timestamp() if headers.get("eta") else None
    if headers.get("retries"):
        _comes_again(carried, due_at)
        return
    if not carried.needs_row:
        return
    args, kwargs, *_embedded = body
    call = Call(
        runner=CeleryRunner.name,
        runner_id=str(headers["id"]),
        name=sender,
        args=args,
        kwargs=kwargs,
        task_id=carried.task_id,
        options=options,
        owner=carried.owner,
        due_at=due_at,
    )
    create_row_unless_there(call)


def _comes_again(carried: TaskHeader, due_at: float | None) -> None:
    """`autoretry_for` works out its delay after the wrapper has been left: its message tells the time."""
    from telltale import store
    from telltale.messages import announce

    changed = store.reschedule(carried.task_id, due_at) if due_at is not None else None
    announce(changed.envelopes if changed else [])


@suppress_and_log
def _begins(*, task: Any, **_ignored: object) -> None:
    """In the worker: a group begins with the first of its members."""
    from telltale import store
    from telltale.messages import announce

    carried = _carried(task.request)
    changed = store.start_group(carried.group) if carried is not None and carried.group is not None else None
    announce(changed.envelopes if changed else [])


@suppress_and_log
def _failed(*, sender: Any, task_id: str, exception: BaseException, **_ignored: object) -> None:
    """In the parent: a child was killed or ran out of time. In a child the wrapper has said it before."""
    from telltale.dispatch.rows import end_from_outside

    if _mark(sender) is None:
        return
    if isinstance(exception, WorkerLostError):
        end_from_outside(CeleryRunner.name, task_id, State.LOST, detail=str(exception))
    elif isinstance(exception, TimeLimitExceeded):
        words = _("The task took too long and was stopped.")
        end_from_outside(CeleryRunner.name, task_id, State.FAILED, error=words, detail=str(exception))


@suppress_and_log
def _revoked(*, sender: Any, request: Any, expired: bool, **_ignored: object) -> None:
    """In the parent: the message was revoked or had expired when its turn came, or its run was terminated."""
    from telltale.dispatch.rows import end_from_outside

    if _mark(sender) is None:
        return
    if expired:
        words = _("The task expired before a worker was free.")
        end_from_outside(CeleryRunner.name, str(request.id), State.FAILED, error=words)
    else:
        end_from_outside(CeleryRunner.name, str(request.id), State.CANCELLED)


@suppress_and_log
def _unknown(*, name: str, id: str, message: Any, exc: BaseException, **_ignored: object) -> None:
    """In the parent: the message was thrown away, for no task of its worker has that name."""
    from telltale.dispatch.rows import end_from_outside, find_row

    carried = TaskHeader.from_json(message.headers.get(HEADER))
    if carried is None:
        return
    call = Call(runner=CeleryRunner.name, runner_id=id, name=name, task_id=carried.task_id, row_wait_s=ROW_WAIT_S)
    if find_row(call) is not None:
        end_from_outside(
            call.runner, id, State.FAILED, error=_("The worker does not know this task."), detail=repr(exc)
        )
