"""Actors of Dramatiq (2.0 or newer), with Redis or RabbitMQ, by itself or through django-dramatiq.

Reach: every process where its workers run. Dramatiq is extended by middleware: add
`telltale.runners.dramatiq.TelltaleMiddleware` to the broker's list, as the first. The message's options carry our
header. An actor is followed by its name, or by the dotted name of its function.

The messages of a killed worker are delivered again: by Redis after the broker's `heartbeat_timeout`, by RabbitMQ when
the worker's connection is closed.
"""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import dramatiq
from django.utils.translation import gettext as _
from dramatiq import Actor, Message
from dramatiq.common import q_name
from dramatiq.message import generate_unique_id
from dramatiq.middleware import Middleware, Retries, SkipMessage, TimeLimitExceeded

from telltale.core.states import State
from telltale.dispatch.follow import options_by_name
from telltale.dispatch.patching import patch
from telltale.dispatch.runner import Call, TaskOptions, options_of, stored_record, suppress_and_log
from telltale.dispatch.task_header import HEADER, TaskHeader, new_header, sending
from telltale.dispatch.tracked import wrap
from telltale.dispatch.waiting_ids import READ_TOGETHER, WaitingIds, read_ids, waiting_ids

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

_running: ContextVar[Any] = ContextVar("telltale_dramatiq_message", default=None)
"""The message that is being processed."""

_publishing: ContextVar[str | None] = ContextVar("telltale_dramatiq_publishing", default=None)
"""The id of the message that is being enqueued, if its row is still to be created."""


class DramatiqRunner:
    """Shows messages that are sent by `actor.send`, `send_with_options`, groups, pipelines or `telltale.enqueue`."""

    name = "dramatiq"
    runs_async = True

    def install(self) -> None:
        """Patch the call of an actor, for those that are followed. All else is done by the middleware."""
        patch(Actor, "__call__", _call_actor)

    def owns(self, task: object) -> bool:
        """Whether `@actor` made it."""
        return isinstance(task, Actor)

    def name_of(self, task: Any) -> str:
        """The actor's name on its broker."""
        return str(task.actor_name)

    def function_of(self, task: Any) -> object:
        """The function beneath `@actor`."""
        return task.fn

    def options_for(self, task: Any) -> TaskOptions | None:
        """Those of the function beneath `@actor`, or of the actor's name."""
        return _options_of_actor(task)

    def find(self, name: str) -> object | None:
        """The actor of that name on the current broker."""
        found: object | None = dramatiq.get_broker().actors.get(name)
        return found

    def new_id(self) -> str:
        """An id like Dramatiq's own."""
        return str(generate_unique_id())

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Enqueue a message of that id; the middleware adds the header."""
        message = task.message_with_options(args=tuple(args), kwargs=dict(kwargs))
        if runner_id is not None:
            message = message.copy(message_id=runner_id)
        with sending(task_id, runner_id=runner_id):
            return str(task.broker.enqueue(message).message_id)

    def queue_of(self, task: Any) -> str:
        """The actor's queue."""
        return str(task.queue_name)

    def record(self, runner_id: str, queue: str) -> Any:
        """The stored message of django-dramatiq."""
        return stored_record("django_dramatiq.Task", pk=runner_id)

    def current_call(self) -> Call | None:
        """The message that this thread, or a coroutine of it, processes."""
        message = _running.get()
        return None if message is None else _call(message)

    def verdict(self, error: BaseException) -> "Verdict | None":
        """Retrying if the middleware `Retries` will enqueue the message again; `before_enqueue` then adds the time."""
        from telltale.worker.run import Verdict

        text = _("The task took too long and was stopped.") if isinstance(error, TimeLimitExceeded) else None
        if _will_retry(_running.get(), error):
            return Verdict(state=State.RETRYING, error=text)
        return Verdict(state=State.FAILED, error=text) if text else None

    def convert_cancellation(self, error: BaseException) -> BaseException:
        """`SkipMessage`, which Dramatiq never retries."""
        skipped: BaseException = SkipMessage(str(error))
        return skipped

    def redelivers(self, task: object) -> bool:
        """Always: the brokers deliver again what was not acknowledged."""
        return True

    def has_message(self, task: Any, runner_id: str) -> bool | None:
        """Whether a declared queue of Redis has the message, which stays there until it is acknowledged.

        None if the queues are too long to be searched, and with RabbitMQ, which can't be asked about one message.
        """
        broker = task.broker
        if not _is_redis(broker):
            return None
        return waiting_ids((self.name, id(broker)), partial(_search, broker)).has(runner_id)


def _is_redis(broker: Any) -> bool:
    try:
        from dramatiq.brokers.redis import RedisBroker
    except ImportError:  # The package redis is not installed.
        return False
    return isinstance(broker, RedisBroker)


def _search(broker: Any) -> WaitingIds:
    # In this order: a worker moves messages from the queue of delayed ones to the other.
    queues = [*broker.get_declared_delay_queues(), *broker.get_declared_queues()]
    messages = (
        message
        for queue in queues
        for _id, message in broker.client.hscan_iter(f"{broker.namespace}:{queue}.msgs", count=READ_TOGETHER)
    )
    return read_ids(messages, lambda message: str(Message.decode(message).message_id))


class TelltaleMiddleware(Middleware):
    """Follows each message at its publisher and in its worker.

    Put it first: the hooks after a message are called in reverse order, and other middleware enqueues further
    messages in them, which belong to the owner of the message that is still the current one.
    """

    def before_enqueue(self, broker: Any, message: Any, delay: int | None) -> None:
        """Add our header to a new message; write when a retried message is due."""
        _before_enqueue(broker, message, delay)

    def after_enqueue(self, broker: Any, message: Any, delay: int | None) -> None:
        """Create the row. Not before the message is enqueued, so that a failure to enqueue leaves no row."""
        _after_enqueue(message, delay)

    def before_process_message(self, broker: Any, message: Any) -> None:
        """Set the current call."""
        _running.set(message)

    def after_process_message(
        self, broker: Any, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        """Clear the current call."""
        _running.set(None)

    def after_skip_message(self, broker: Any, message: Any) -> None:
        """Clear the current call, and end a message that was skipped because it was too old."""
        _running.set(None)
        _after_skip(broker, message)


def _options_of_actor(actor: Any) -> TaskOptions | None:
    function, name = actor.fn, str(actor.actor_name)
    dotted_name = f"{function.__module__}.{getattr(function, '__qualname__', name)}"
    return options_of(function) or options_by_name(name) or options_by_name(dotted_name)


def _options_of_message(broker: Any, message: Any) -> TaskOptions | None:
    actor = broker.actors.get(message.actor_name)
    return options_by_name(message.actor_name) if actor is None else _options_of_actor(actor)


def _call_actor(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    """Show the run of an actor that is followed by its name."""
    options = None if options_of(self.fn) is not None else _options_of_actor(self)
    return (original if options is None else wrap(original, options))(self, *args, **kwargs)


def _header_of(message: Any) -> TaskHeader | None:
    return TaskHeader.from_json(message.options.get(HEADER))


def _call(message: Any, due_at: float | None = None) -> Call:
    header = _header_of(message)
    return Call(
        runner=DramatiqRunner.name,
        runner_id=str(message.message_id),
        name=str(message.actor_name),
        args=message.args,
        kwargs=message.kwargs,
        task_id=header.task_id if header else None,
        owner=header.owner if header else None,
        options=_options_of_message(dramatiq.get_broker(), message),
        delivery=message.options.get("retries", 0),
        due_at=due_at,
        queue=str(q_name(message.queue_name)),
    )


@suppress_and_log
def _before_enqueue(broker: Any, message: Any, delay: int | None) -> None:
    from telltale import store
    from telltale.dispatch.rows import reschedule

    _publishing.set(None)
    if _options_of_message(broker, message) is None:
        return
    header = _header_of(message)
    if header is None:
        parent = _running.get()
        header = new_header(_header_of(parent) if parent is not None else None)
        message.options[HEADER] = header.to_json()
        _publishing.set(message.message_id if header.needs_row else None)
    elif delay:
        reschedule(header.task_id, store.now() + delay / 1000, runner_id=str(message.message_id))


@suppress_and_log
def _after_enqueue(message: Any, delay: int | None) -> None:
    from telltale import store
    from telltale.dispatch.rows import create_row_unless_there

    if _publishing.get() != message.message_id:
        return
    _publishing.set(None)
    create_row_unless_there(_call(message, store.now() + delay / 1000 if delay else None))


@suppress_and_log
def _after_skip(broker: Any, message: Any) -> None:
    """End the row as expired. A run that was cancelled is skipped too, but its row has ended already."""
    from telltale.dispatch.rows import end_from_outside

    if _options_of_message(broker, message) is not None:
        text = _("The task expired before a worker was free.")
        end_from_outside(DramatiqRunner.name, str(message.message_id), State.FAILED, error=text)


def _will_retry(message: Any, error: BaseException) -> bool:
    """Whether the middleware `Retries` will retry the message. It decides that later, by the same rules."""
    broker = dramatiq.get_broker()
    retries = next((middleware for middleware in broker.middleware if isinstance(middleware, Retries)), None)
    actor = broker.actors.get(message.actor_name) if message is not None else None
    if retries is None or actor is None:
        return False
    options = {**actor.options, **message.options}
    throws = options.get("throws")
    if throws and isinstance(error, throws):
        return False
    retry_count = message.options.get("retries", 0)
    retry_when = actor.options.get("retry_when", retries.retry_when)
    if retry_when is not None:
        return bool(retry_when(retry_count, error))
    max_retries = options.get("max_retries", retries.max_retries)
    return max_retries is None or retry_count < max_retries
