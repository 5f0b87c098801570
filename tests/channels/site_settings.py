"""The settings of a site with Channels, in a process of its own; `CHANNELS_REDIS` is the address of its layer."""

import os

from tests.transports.process_settings import *  # noqa: F403

ROOT_URLCONF = "tests.channels.urls"
ALLOWED_HOSTS = ["127.0.0.1"]
if "CHANNELS_REDIS" in os.environ:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": os.environ.get("CHANNELS_BACKEND", "channels_redis.core.RedisChannelLayer"),
            # redis-py's own timeout is as long as channels_redis waits for a message.
            "CONFIG": {"hosts": [{"address": os.environ["CHANNELS_REDIS"], "socket_timeout": 30}]},
        }
    }
