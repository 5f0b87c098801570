"""Settings of the worker processes of these tests: those of all tests, with a channel layer and its application."""

import os
from typing import Any

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "channels"]
ASGI_APPLICATION = "tests.app.channels_tasks.application"


def host(url: str) -> dict[str, Any]:
    """A host of a layer. The layer waits for 5 s in Redis, and redis-py 8 gives up after 5 s by default."""
    return {"address": url, "socket_timeout": 30}


def layer(*urls: str, expiry_s: int = 60, **config: Any) -> dict[str, Any]:
    """A layer of CHANNEL_LAYERS on these Redis hosts."""
    return {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [host(url) for url in urls], "expiry": expiry_s, **config},
    }


URLS = [os.environ[name] for name in ("TELLTALE_TEST_LAYER", "TELLTALE_TEST_LAYER_2") if name in os.environ]
CHANNEL_LAYERS = {
    "default": layer(*URLS, expiry_s=int(os.environ.get("TELLTALE_TEST_EXPIRY_S", "60"))),
    "memory": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
    "pubsub": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [host(url) for url in URLS]},
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {name: {"handlers": ["console"], "level": "INFO"} for name in ("django.channels", "telltale")},
}
