"""`TaskConsumer`: a consumer for `ChannelNameRouter` whose tracked handlers are followed tasks.

    class Background(telltale.channels.TaskConsumer):
        channel = "my-background-task"

        @telltale.tracked(label="Import contacts")
        def import_contacts(self, upload_id): ...

It runs under Channels' own `runworker` and under `manage.py telltale worker`, one message at a time, the oldest first.
Each consumer has a thread of its own for sync handlers and for the ORM, so it blocks no other consumer. No handler's
error ends it: under `runworker`, everything that waits in the process would be lost with it.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import uuid4

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from channels.consumer import AsyncConsumer, get_handler_name
from channels.db import aclose_old_connections, database_sync_to_async
from channels.exceptions import StopConsumer
from channels.layers import get_channel_layer
from django.db import connections
from django.utils.translation import gettext as _

from telltale.channels.layers import CHANNELS_EXPIRY_S, expiry_s
from telltale.channels.runner.backlog import Backlog
from telltale.channels.runner.handlers import Handler, register, running
from telltale.channels.runner.runner import NAME
from telltale.channels.runner.task_message import TaskMessage
from telltale.core.states import State
from telltale.dispatch.import_paths import dotted_name
from telltale.dispatch.rows import end_from_outside
from telltale.dispatch.runner import Call, options_of
from telltale.worker.run import Cancelled, TaskError

logger = logging.getLogger(__name__)

ONE_AT_A_TIME: Final = "telltale.one_at_a_time"
"""A key of the scope: its `receive` takes from the layer only when it is called, so there is nothing to hold."""

Message = dict[str, Any]


class TaskConsumer(AsyncConsumer):  # type: ignore[misc]  # Channels has no types
    """Runs its handlers, `def` or `async def`. A tracked one gets the arguments of its call.

    A handler without `@telltale.tracked` gets the message, as in any consumer. A message that was sent by the layer's
    own `send` runs a tracked handler too, with the message's other keys as arguments; its row is made when it begins.
    """

    channel: str | None = None
    """The channel under which the routing has it; `telltale.enqueue` sends there."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the tracked functions of the class its handlers."""
        super().__init_subclass__(**kwargs)
        register(cls)

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Handle the messages of one channel, until the server ends it."""
        self._check(scope)
        self.scope, self.base_send = scope, send
        self.channel_layer = get_channel_layer(self.channel_layer_alias)
        async with ThreadSensitiveContext():
            try:
                await self._handle_all(scope, receive)
            except StopConsumer:
                pass
            finally:
                await sync_to_async(connections.close_all)()

    def _check(self, scope: Message) -> None:
        if scope["type"] != "channel":
            raise ValueError(
                f"{dotted_name(type(self))} has a scope of the type {scope['type']!r}, but its messages come from the "
                "channel layer: route it in ChannelNameRouter."
            )
        if self.channel is not None and scope["channel"] != self.channel:
            raise ValueError(
                f"{dotted_name(type(self))} declares the channel {self.channel!r} but is routed under "
                f"{scope['channel']!r}: make them equal."
            )

    async def _handle_all(self, scope: Message, receive: Callable[[], Awaitable[Message]]) -> None:
        if scope.get(ONE_AT_A_TIME):
            while True:
                await self.dispatch(await receive())
        kept_s = expiry_s(self.channel_layer) if self.channel_layer is not None else CHANNELS_EXPIRY_S
        async with Backlog(receive, kept_s=kept_s) as backlog:
            while True:
                await self.dispatch(await backlog.get())

    async def dispatch(self, message: Message) -> None:
        """Run the handler of one message. Its errors are logged; tracked ones have been shown before."""
        try:
            await self._handle(message)
        except StopConsumer:
            raise
        except (Cancelled, TaskError) as end:
            logger.info("%s ended early: %r", self._describe(message), end)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # The server ends this consumer.
            logger.exception("%s was cancelled by its own code.", self._describe(message))
        except (Exception, SystemExit):
            logger.exception("%s failed.", self._describe(message))

    def _describe(self, message: Message) -> str:
        return f"{dotted_name(type(self))}, message {message.get('type')!r},"

    async def _handle(self, message: Message) -> None:
        name = get_handler_name(message)
        task, method = getattr(type(self), name, None), getattr(self, name, None)
        sent = TaskMessage.from_dict(message)
        if isinstance(task, Handler):
            await self._run(task, method, message, sent)
        elif sent is not None:
            await self._refuse(sent)
        elif method is not None:
            await _invoke(method, message)
        else:
            raise ValueError(f"{dotted_name(type(self))} has no handler for the message type {message['type']!r}.")

    async def _run(self, task: Handler, method: Any, message: Message, sent: TaskMessage | None) -> None:
        call = _call(task, message) if sent is None else _sent_call(task, sent)
        token = running.set(call)
        try:
            await _invoke(method, *call.args, **(call.kwargs or {}))
        finally:
            running.reset(token)

    async def _refuse(self, sent: TaskMessage) -> None:
        detail = f"{dotted_name(type(self))} has no tracked handler {sent.handler!r}."
        logger.error("%s Its task %s is ended as failed.", detail, sent.header.task_id)
        await refuse(sent, detail)


async def refuse(sent: TaskMessage, detail: str) -> None:
    """End the task of a message that no handler here can run. `detail`: the reason, for staff."""
    error = _("The worker does not know this task.")
    await sync_to_async(end_from_outside)(NAME, sent.runner_id, State.FAILED, error=error, detail=detail)


async def _invoke(function: Any, *args: Any, **kwargs: Any) -> None:
    if not inspect.iscoroutinefunction(function):
        await database_sync_to_async(function)(*args, **kwargs)
        return
    await aclose_old_connections()
    try:
        await function(*args, **kwargs)
    finally:
        await aclose_old_connections()


def _sent_call(task: Handler, sent: TaskMessage) -> Call:
    return Call(
        runner=NAME,
        runner_id=sent.runner_id,
        name=task.dotted_name,
        args=sent.args,
        kwargs=sent.kwargs,
        task_id=sent.header.task_id,
        owner=sent.header.owner,
        options=options_of(task),
        at_most_once=True,
    )


def _call(task: Handler, message: Message) -> Call:
    """The call of a message that was sent without Telltale."""
    return Call(
        runner=NAME,
        runner_id=uuid4().hex,
        name=task.dotted_name,
        kwargs={key: value for key, value in message.items() if key != "type"},
        options=options_of(task),
    )
