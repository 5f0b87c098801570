"""Layers of CHANNEL_LAYERS on a Redis of the tests."""

from typing import Any


def layer(*urls: str, expiry_s: int = 60, **config: Any) -> dict[str, Any]:
    """A layer of CHANNEL_LAYERS on these Redis hosts."""
    return {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [host(url) for url in urls], "expiry": expiry_s, **config},
    }


def pubsub_layer(*urls: str) -> dict[str, Any]:
    """A layer of Redis pub/sub on these hosts: it delivers a message to all workers, and keeps none."""
    return {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [host(url) for url in urls]},
    }


def host(url: str) -> dict[str, Any]:
    """A host of a layer. The layer waits for 5 s in Redis, and redis-py 8 gives up after 5 s by default."""
    return {"address": url, "socket_timeout": 30}
