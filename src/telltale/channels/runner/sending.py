"""`telltale.channels.send`: queue a task by its channel and the type of its message, as Channels names handlers."""

from typing import Any

from telltale.channels.runner.handlers import Handler, handler_on
from telltale.dispatch.enqueue import enqueue
from telltale.models import TaskState


def send(channel: str | Handler, /, *args: Any, **kwargs: Any) -> TaskState:
    """Queue a task on a channel: `send("my-background-task", "import.contacts", upload.pk)`; returns its row.

    The first argument after a channel's name is the message's type, which names the handler. All others are those of
    `telltale.enqueue`, `owner`, `key` and `label` included, and so are the errors. `send(Background.import_contacts,
    …)` is `telltale.enqueue`.
    """
    if isinstance(channel, Handler):
        return enqueue(channel, *args, **kwargs)
    if not args or not isinstance(args[0], str):
        raise TypeError(
            f"send({channel!r}, …) names no handler: pass its name after the channel, such as "
            f'send({channel!r}, "import_contacts", 7).'
        )
    return enqueue(handler_on(channel, args[0]), *args[1:], **kwargs)
