"""Layers for the tests of the Channels broker: settings, and an in-memory layer that a test can break."""

from typing import Any

from channels.layers import InMemoryChannelLayer

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
MEMORY = "tests.channels.layers.BreakableLayer"


def layers(backend: str, redis_url: str | None = None, **config: Any) -> dict[str, Any]:
    """CHANNEL_LAYERS with one layer."""
    hosts = {} if redis_url is None else {"hosts": [redis_url]}
    return {"default": {"BACKEND": backend, "CONFIG": {**hosts, **config}}}


class BreakableLayer(InMemoryChannelLayer):
    """Django Channels' own, whose instances can be found and told to forget."""

    made: "list[BreakableLayer]" = []

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.sent: list[str] = []
        self.made.append(self)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.sent.append(group)
        await super().group_send(group, message)

    @classmethod
    def forget_groups(cls) -> None:
        """Every instance loses its groups, as Redis does when it is restarted."""
        for layer in cls.made:
            layer.groups.clear()
