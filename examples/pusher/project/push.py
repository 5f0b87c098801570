"""Pusher's Python library, as it is. Three lines point it at the stand-in."""

from typing import Any

from django.conf import settings
from pusher import Pusher  # type: ignore[import-untyped]

client = Pusher(
    app_id=settings.PUSHER["ID"],
    key=settings.PUSHER["KEY"],
    secret=settings.PUSHER["SECRET"],
    host="127.0.0.1",
    port=settings.PUSHER_PORT,
    ssl=False,
)


def push(user_id: int, event: str, **data: Any) -> None:
    """Send an event to all open pages of one user."""
    client.trigger(f"private-user-{user_id}", event, data)
