"""Django Channels with its Redis layer for publish and subscribe: a group a topic, as its tutorial shows it.

Run by uvicorn. `python -m benchmarks.peers.channels_app TOPIC TEXT` publishes, by `group_send`.
"""

import os
import secrets
import sys

import django
from asgiref.sync import async_to_sync
from django.conf import settings

settings.configure(
    SECRET_KEY=secrets.token_hex(),
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [os.environ["BENCH_REDIS"]]},
        }
    },
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402  (needs the settings)
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402


class Follower(AsyncWebsocketConsumer):
    """One socket in one group."""

    async def connect(self) -> None:
        """Join before accepting, so that who is connected misses nothing."""
        self.group = self.scope["url_route"]["kwargs"]["topic"]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        """Leave the group."""
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def update(self, event: dict[str, str]) -> None:
        """Pass on what the group was told."""
        await self.send(text_data=event["text"])


app = ProtocolTypeRouter({"websocket": URLRouter([path("live/<topic>", Follower.as_asgi())])})

if __name__ == "__main__":
    async_to_sync(get_channel_layer().group_send)(sys.argv[1], {"type": "update", "text": sys.argv[2]})
