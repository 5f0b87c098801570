"""Tasks of the channels runner: the tracked handlers of `TaskConsumer` classes.

`Background.import_contacts` is a `Handler`: it can be enqueued, and knows its channel. Handlers are found again by the
dotted name of their class, or by the channel that the class declares. Knows no message and no layer.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

from channels.routing import get_default_application
from django.conf import settings

from telltale.dispatch.import_paths import dotted_name, import_or_none
from telltale.dispatch.runner import Call, TaskOptions, options_of

running: ContextVar[Call | None] = ContextVar("telltale_channels_call", default=None)
"""The call that a consumer runs in this thread or coroutine."""

_consumers: dict[str, dict[str, type]] = {}
"""The classes that declare each channel, by their dotted names: a module that is loaded again replaces its class."""


@dataclass(frozen=True)
class Handler:
    """One tracked handler of a consumer class; equal for the same class and name. Calling it runs it here, unseen."""

    consumer: Any
    name: str
    function: Callable[..., Any] = field(compare=False, repr=False)

    @property
    def __telltale__(self) -> TaskOptions | None:
        # `runner.OPTIONS_ATTRIBUTE`: by this, `options_of(handler)` finds the options of `tracked`.
        return options_of(self.function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function on a new consumer, as a test or a shell does; a coroutine if it is async."""
        return self.function(self.consumer(), *args, **kwargs)

    @property
    def dotted_name(self) -> str:
        """The name by which `find_handler` finds it."""
        return f"{dotted_name(self.consumer)}.{self.name}"

    @property
    def channel(self) -> str:
        """The channel of its class. Raises `TypeError` if the class declares none."""
        channel = self.consumer.channel
        if channel is None:
            raise TypeError(
                f"{dotted_name(self.consumer)} has no channel, so nothing can be sent to it: set "
                'channel = "…" in the class, to the name under which ChannelNameRouter routes it.'
            )
        return str(channel)


class HandlerAttribute:
    """The attribute of a class behind which a tracked handler stands: a `Handler`, or a method of an instance."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._function = function

    def __get__(self, instance: object, owner: type) -> Handler | MethodType:
        if instance is None:
            return Handler(owner, self._name, self._function)
        return MethodType(self._function, instance)


def register(consumer: Any) -> None:
    """Make the tracked functions of a new consumer class its handlers, and note the channel that it declares."""
    for name, value in list(vars(consumer).items()):
        if options_of(value) is not None and callable(value):
            setattr(consumer, name, HandlerAttribute(name, value))
    channel = vars(consumer).get("channel")
    if channel is not None:
        _consumers.setdefault(channel, {})[dotted_name(consumer)] = consumer


def find_handler(name: str) -> Handler | None:
    """The handler of that dotted name; None if its class can't be imported or has no such handler."""
    class_name, _, handler_name = name.rpartition(".")
    found = getattr(import_or_none(class_name), handler_name, None) if class_name else None
    return found if isinstance(found, Handler) else None


def handler_on(channel: str, name: str) -> Handler:
    """The handler with that message type on that channel: "import.contacts" or "import_contacts".

    Raises `TypeError` that names what there is.
    """
    consumer = _consumer_of(channel)
    found = getattr(consumer, name.replace(".", "_"), None)
    if isinstance(found, Handler):
        return found
    if found is not None:
        raise TypeError(
            f"{dotted_name(consumer)}.{name} is not tracked, so its run can't be shown: put @telltale.tracked above "
            "it, or send the message with the channel layer."
        )
    known = [key for key in dir(consumer) if isinstance(getattr(consumer, key), Handler)]
    raise TypeError(f"{dotted_name(consumer)} has no handler {name!r}; it has {', '.join(known) or 'none'}.")


def _consumer_of(channel: str) -> Any:
    if channel not in _consumers and getattr(settings, "ASGI_APPLICATION", None):
        get_default_application()  # Imports the site's routing, and with it its consumers.
    classes = _consumers.get(channel, {})
    if len(classes) == 1:
        return next(iter(classes.values()))
    if classes:
        raise TypeError(
            f"{' and '.join(sorted(classes))} both declare the channel {channel!r}: pass the handler itself, such as "
            f"{next(iter(classes))}.…."
        )
    raise TypeError(
        f"No TaskConsumer declares the channel {channel!r}; there are {', '.join(sorted(_consumers)) or 'none'}. Set "
        f'channel = "{channel}" in the consumer\'s class.'
    )
