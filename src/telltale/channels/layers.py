"""The layers of CHANNEL_LAYERS: find one by its alias, and say how long it keeps a message.

Used by the runner, its consumers and its worker. Knows no task.
"""

from typing import Any, Final

from channels.layers import get_channel_layer
from django.core.exceptions import ImproperlyConfigured

CHANNELS_EXPIRY_S: Final = 60.0
"""The `expiry` of Channels' own layers unless the site sets another."""


def required_layer(alias: str) -> Any:
    """The layer of that alias. Raises `ImproperlyConfigured` if there is none."""
    layer = get_channel_layer(alias)
    if layer is None:
        raise ImproperlyConfigured(
            f"CHANNEL_LAYERS has no layer {alias!r}: add one, such as "
            f'{{"{alias}": {{"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {{"hosts": […]}}}}}}.'
        )
    return layer


def expiry_s(layer: Any) -> float:
    """How long the layer keeps a message that no consumer takes, in seconds."""
    try:
        return float(layer.expiry)
    except (AttributeError, RuntimeError):
        # A layer need not have it. That of Redis pub/sub asks for a running event loop before it looks.
        return CHANNELS_EXPIRY_S


def describe(alias: str, layer: Any) -> str:
    """The layer as an error message names it."""
    return f"CHANNEL_LAYERS[{alias!r}] ({type(layer).__module__}.{type(layer).__qualname__})"
