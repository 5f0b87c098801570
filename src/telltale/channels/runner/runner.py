"""Tasks in consumers of Django Channels (4.3 or newer): handlers of `TaskConsumer`, fed by the channel layer.

Reach: every process with the layer. The message carries the row's id and owner. A layer is no durable queue: it drops
what waits longer than its `expiry`, and it may deliver a message twice. So a message runs only while its row is
queued, and a row that is still queued after the expiry ends as failed, with a retry.

Limits: a message can't be revoked (a cancelled one stops as soon as it is taken), and a run can't be ended by force.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer

from telltale.channels.layers import describe, expiry_s, required_layer
from telltale.channels.runner.handlers import Handler, find_handler, running
from telltale.channels.runner.task_message import TaskMessage
from telltale.dispatch.runner import Call
from telltale.dispatch.task_header import TaskHeader
from telltale.owners import current_owner

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

logger = logging.getLogger(__name__)

NAME: Final = "channels"

CLAIM_S: Final = 1.0
"""How long after the layer's expiry a task may still begin: a worker may have taken its message just before."""


class SendFailed(Exception):
    """The channel layer did not take a message."""


class ChannelsRunner:
    """`telltale.enqueue(Background.import_contacts, …)` and `telltale.channels.send` make the row and the message."""

    name = NAME
    runs_async = True

    def install(self) -> None:
        """Nothing to connect: rows are made by Telltale's own calls, and consumers report their runs themselves."""

    def owns(self, task: object) -> bool:
        """Whether it is a tracked handler of a `TaskConsumer` class."""
        return isinstance(task, Handler)

    def name_of(self, task: Any) -> str:
        """The dotted name of the handler's class, and the handler's name."""
        return str(task.dotted_name)

    def function_of(self, task: object) -> object:
        """The handler itself, which carries the options."""
        return task

    def find(self, name: str) -> object | None:
        """The handler of that name; imports its class."""
        return find_handler(name)

    def new_id(self) -> str:
        """A random one: the layer's messages have none."""
        return uuid4().hex

    def kept_s(self, task: Any) -> float:
        """The expiry of the layer of the handler's class. Raises `ImproperlyConfigured` if there is no such layer."""
        return expiry_s(required_layer(task.consumer.channel_layer_alias)) + CLAIM_S

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Send the message to the channel of the handler's class."""
        message = TaskMessage(
            handler=task.name,
            args=args,
            kwargs=kwargs,
            header=TaskHeader(task_id=task_id, owner=current_owner()),
            runner_id=runner_id or self.new_id(),
        )
        _send(task.consumer.channel_layer_alias, task.channel, message.to_dict())
        return message.runner_id

    def current_call(self) -> Call | None:
        """The call that a consumer runs in this thread or coroutine."""
        return running.get()

    def verdict(self, error: BaseException) -> "Verdict | None":
        """None: exceptions have their usual meaning, and nothing retries by itself."""
        return None


def _send(alias: str, channel: str, message: Mapping[str, Any]) -> None:
    layer = required_layer(alias)
    if isinstance(layer, InMemoryChannelLayer):
        _warn_of_memory(alias)
    try:
        async_to_sync(layer.send)(channel, message)
    except ChannelFull as error:
        raise ChannelFull(
            f"{describe(alias, layer)} holds as many messages for {channel!r} as its capacity allows: run more "
            "workers, or raise `capacity` in its CONFIG."
        ) from error
    except Exception as error:
        raise SendFailed(
            f"{describe(alias, layer)} did not take a message of about {len(str(message)):,} bytes for {channel!r} "
            f"({error!r}). If it can be reached, store large arguments and pass their key."
        ) from error


@cache
def _warn_of_memory(alias: str) -> None:
    """Log once in each process that no other process receives its tasks."""
    logger.warning(
        "CHANNEL_LAYERS[%r] is a layer in memory, which reaches only this process: a worker receives nothing, and its "
        "tasks end as failed after the layer's expiry. Use channels_redis.core.RedisChannelLayer.",
        alias,
    )
