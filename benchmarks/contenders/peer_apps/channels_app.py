"""Django Channels with its Redis channel layer for publish and subscribe. Each topic is a group, as in the tutorial.

Run by uvicorn. `python -m benchmarks.contenders.peer_apps.channels_app TOPIC TEXT` publishes with `group_send`.
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
    """One WebSocket in one group."""

    async def connect(self) -> None:
        """Join the group before accepting, so that a connected follower misses no message."""
        self.group = self.scope["url_route"]["kwargs"]["topic"]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        """Leave the group."""
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def update(self, event: dict[str, str]) -> None:
        """Send a message of the group to the client."""
        await self.send(text_data=event["text"])


app = ProtocolTypeRouter({"websocket": URLRouter([path("live/<topic>", Follower.as_asgi())])})

if __name__ == "__main__":
    async_to_sync(get_channel_layer().group_send)(sys.argv[1], {"type": "update", "text": sys.argv[2]})
