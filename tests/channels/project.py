"""A project's own consumers that follow topics: one async, one sync. Each sends what its methods are called with."""

import asyncio
import threading
from typing import Any, ClassVar

from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
from channels.routing import URLRouter
from django.http import HttpRequest
from django.urls import path

from telltale.channels import FollowMixin, FollowRefused


def may_follow(request: HttpRequest, topic: str) -> bool:
    """The site's hook: members of a group with the topic's name, for signed-in users."""
    return request.user.is_authenticated and request.user.groups.filter(name=topic).exists()


held: list[FollowMixin] = []
released = threading.Event()


class AsyncProject(FollowMixin, AsyncJsonWebsocketConsumer):
    """Follows the topics in the path. A held one does not return from its calls before `released`."""

    is_held = False

    async def connect(self) -> None:
        topics = self.scope["url_route"]["kwargs"]["topics"]
        if topics != "none":
            await self.follow(*topics.split(","))
        await self.accept()

    async def receive_json(self, content: Any, **more: Any) -> None:
        match content:
            case {"follow": topics}:
                try:
                    await self.follow(*topics)
                except FollowRefused as refusal:
                    await self.send_json({"refused": str(refusal)})
            case {"unfollow": topics}:
                await self.unfollow(*topics)
            case {"hold": None}:
                self.is_held = True
                held.append(self)
            case {"take": None}:
                await self.send_json({"taken": [await self.take_notice(self.last_notice) for _ in range(2)]})
        await self.send_json({"done": content})

    async def task_changed(self, snapshot: Any) -> None:
        await self.send_json({"task": snapshot.to_json()})
        if self.is_held:
            await asyncio.to_thread(released.wait, 60)

    async def notice(self, notice: Any) -> None:
        self.last_notice = notice
        await self.send_json({"notice": notice.to_json()})

    async def event(self, event: Any) -> None:
        await self.send_json({"event": event.to_json()})
        if isinstance(event.data, dict):
            event.data["changed"] = "by a consumer"
        if self.is_held:
            await asyncio.to_thread(released.wait, 60)

    async def unfollowed(self, topic: str, reason: str) -> None:
        await self.send_json({"unfollowed": topic, "reason": reason})


class SyncProject(FollowMixin, JsonWebsocketConsumer):
    """The same, in a thread."""

    is_held = False
    threads: ClassVar[set[int]] = set()

    def connect(self) -> None:
        topics = self.scope["url_route"]["kwargs"]["topics"]
        if topics != "none":
            self.follow(*topics.split(","))
        self.accept()

    def receive_json(self, content: Any, **more: Any) -> None:
        match content:
            case {"follow": topics}:
                try:
                    self.follow(*topics)
                except FollowRefused as refusal:
                    self.send_json({"refused": str(refusal)})
            case {"unfollow": topics}:
                self.unfollow(*topics)
            case {"hold": None}:
                self.is_held = True
                held.append(self)
            case {"take": None}:
                self.send_json({"taken": [self.take_notice(self.last_notice) for _ in range(2)]})
        self.send_json({"done": content})

    def task_changed(self, snapshot: Any) -> None:
        self.threads.add(threading.get_ident())
        self.send_json({"task": snapshot.to_json()})
        if self.is_held:
            released.wait(60)

    def notice(self, notice: Any) -> None:
        self.last_notice = notice
        self.send_json({"notice": notice.to_json()})

    def event(self, event: Any) -> None:
        self.send_json({"event": event.to_json()})
        if isinstance(event.data, dict):
            event.data["changed"] = "by a consumer"
        if self.is_held:
            released.wait(60)

    def unfollowed(self, topic: str, reason: str) -> None:
        self.send_json({"unfollowed": topic, "reason": reason})


routes = [
    path("async/<str:topics>/", AsyncProject.as_asgi()),
    path("sync/<str:topics>/", SyncProject.as_asgi()),
]

consumers = AuthMiddlewareStack(URLRouter(routes))
