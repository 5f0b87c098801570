"""Actors of Dramatiq (2.0 or newer), with Redis or RabbitMQ, by itself or through django-dramatiq.

Reach: wherever its workers are. Its own seam is a middleware, so that is what Telltale is here: put
`telltale.runners.dramatiq.TelltaleMiddleware` into the broker's list, as the first. What Telltale
needs travels in the message's options.

A killed worker's messages come again by themselves, by Redis after the broker's `heartbeat_timeout`, by
RabbitMQ when its connection is gone.
"""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from uuid import UUID

import dramatiq
from django.utils.translation import gettext as _
from dramatiq import Actor
from dramatiq.message import generate_unique_id
from dramatiq.middleware import Middleware, Retries, SkipMessage, TimeLimitExceeded

from telltale.core.states import State
from telltale.dispatch.runner import Call, TaskOptions, options_of, suppress_and_log
from telltale.dispatch.task_header import HEADER, TaskHeader, new_header, sending

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

_running: ContextVar[Any] = ContextVar("telltale_dramatiq_message", default=None)

_fresh: ContextVar[str | None] = ContextVar("telltale_dramatiq_fresh", default=None)
"""The id of the message that is being published here for the first time; its row is made once it is out."""


class DramatiqRunner:
    """`actor.send(…)`, `send_with_options`, groups, pipelines and `telltale.enqueue(actor, …)` make the row."""

    name = "dramatiq"
    runs_async = True

    def install(self) -> None:
        """Nothing to connect: the middleware is in the broker's list."""

    def owns(self, task: object) -> bool:
        """Whether `@actor` made it."""
        return isinstance(task, Actor)

    def name_of(self, task: Any) -> str:
        """The actor's name on its broker."""
        return str(task.actor_name)

    def function_of(self, task: Any) -> object:
        """The function beneath `@actor`."""
        return task.fn

    def find(self, name: str) -> object | None:
        """From the present broker's actors."""
        found: object | None = dramatiq.get_broker().actors.get(name)
        return found

    def new_id(self) -> str:
        """As Dramatiq makes its own."""
        return str(generate_unique_id())

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Send it."""
        message = task.message_with_options(args=tuple(args), kwargs=dict(kwargs))
        if runner_id is not None:
            message = message.copy(message_id=runner_id)
        with sending(task_id, runner_id=runner_id):
            return str(task.broker.enqueue(message).message_id)

    def current_call(self) -> Call | None:
        """The message that this thread, or a coroutine of it, processes."""
        message = _running.get()
        return None if message is None else _call(message)

    def verdict(self, error: BaseException) -> "Verdict | None":
        """Whether `Retries` will send it again; when, it says itself while it does (`before_enqueue`)."""
        from telltale.worker.run import Verdict

        words = _("The task took too long and was stopped.") if isinstance(error, TimeLimitExceeded) else None
        if _comes_again(_running.get(), error):
            return Verdict(state=State.RETRYING, error=words)
        return Verdict(state=State.FAILED, error=words) if words else None

    def convert_cancellation(self, error: BaseException) -> BaseException:
        """What Dramatiq is to see in place of a cancellation: a message that is done with."""
        skipped: BaseException = SkipMessage(str(error))
        return skipped

    def redelivers(self, task: object) -> bool:
        """Always: what was not acknowledged comes again."""
        return True


class TelltaleMiddleware(Middleware):
    """Tells the publisher's side and the worker's side of each message. Put it first, so that it is
    told last that a message is done: others enqueue what follows in its name."""

    def before_enqueue(self, broker: Any, message: Any, delay: int | None) -> None:
        """Give a new message its birth certificate; tell of an old one when it will come again."""
        _before_enqueue(broker, message, delay)

    def after_enqueue(self, broker: Any, message: Any, delay: int | None) -> None:
        """Make the row once the message is out."""
        _after_enqueue(message, delay)

    def before_process_message(self, broker: Any, message: Any) -> None:
        """From here on it is the present call."""
        _running.set(message)

    def after_process_message(
        self, broker: Any, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """It is no more."""
        _running.set(None)

    def after_skip_message(self, broker: Any, message: Any) -> None:
        """Nor is it if it was skipped: as too old, or in a cancelled run."""
        _running.set(None)
        _skipped(broker, message)


def _mark(broker: Any, message: Any) -> TaskOptions | None:
    actor = broker.actors.get(message.actor_name)
    return None if actor is None else options_of(actor.fn)


def _carried(message: Any) -> TaskHeader | None:
    return TaskHeader.from_json(message.options.get(HEADER))


def _call(message: Any, due_at: float | None = None) -> Call:
    carried = _carried(message)
    broker = dramatiq.get_broker()
    return Call(
        runner=DramatiqRunner.name,
        runner_id=str(message.message_id),
        name=str(message.actor_name),
        args=message.args,
        kwargs=message.kwargs,
        task_id=carried.task_id if carried else None,
        owner=carried.owner if carried else None,
        options=_mark(broker, message),
        delivery=message.options.get("retries", 0),
        due_at=due_at,
    )


@suppress_and_log
def _before_enqueue(broker: Any, message: Any, delay: int | None) -> None:
    from telltale import store

    _fresh.set(None)
    if _mark(broker, message) is None:
        return
    carried = _carried(message)
    if carried is None:
        here = _running.get()
        carried = new_header(_carried(here) if here is not None else None)
        message.options[HEADER] = carried.to_json()
        _fresh.set(message.message_id if carried.needs_row else None)
    elif delay:
        changed = store.reschedule(carried.task_id, store.now() + delay / 1000)
        _announce(changed)


def _announce(changed: Any) -> None:
    from telltale.messages import announce

    announce(changed.envelopes if changed else [])


@suppress_and_log
def _after_enqueue(message: Any, delay: int | None) -> None:
    from telltale import store
    from telltale.dispatch.rows import create_row_unless_there

    if _fresh.get() != message.message_id:
        return
    _fresh.set(None)
    create_row_unless_there(_call(message, store.now() + delay / 1000 if delay else None))


@suppress_and_log
def _skipped(broker: Any, message: Any) -> None:
    """As too old, for one; a run that was cancelled has ended already."""
    from telltale.dispatch.rows import end_from_outside

    if _mark(broker, message) is not None:
        words = _("The task expired before a worker was free.")
        end_from_outside(DramatiqRunner.name, str(message.message_id), State.FAILED, error=words)


def _comes_again(message: Any, error: BaseException) -> bool:
    """What `Retries`, which is asked later, will decide."""
    broker = dramatiq.get_broker()
    retries = next((m for m in broker.middleware if isinstance(m, Retries)), None)
    actor = broker.actors.get(message.actor_name) if message is not None else None
    if retries is None or actor is None:
        return False
    options = {**actor.options, **message.options}
    throws = options.get("throws")
    if throws and isinstance(error, throws):
        return False
    done = message.options.get("retries", 0)
    retry_when = actor.options.get("retry_when", retries.retry_when)
    if retry_when is not None:
        return bool(retry_when(done, error))
    most = options.get("max_retries", retries.max_retries)
    return most is None or done < most
