"""A web process with followers, without a server: what they send to their clients is counted.

    python -m benchmarks.channels.receiver bare|mixin|page FOLLOWERS TOPICS

Prints "ready" once all follow; then, for each line of input, JSON: CPU time in microseconds and messages since the
last line, and the 50th percentile of the latency in milliseconds (with one follower).
"""

import asyncio
import json
import os
import re
import statistics
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

import django

django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402  (needs the settings)
from django.contrib.auth.models import AnonymousUser  # noqa: E402

from telltale.channels.follow.follower import POLICY  # noqa: E402
from telltale.channels.follow.mixin import FollowMixin  # noqa: E402
from telltale.core.snapshot import Snapshot  # noqa: E402
from telltale.live.driver import driver  # noqa: E402
from telltale.live.tickets import issue  # noqa: E402

SENT_AT = re.compile(r'"message":\s?"([0-9.]+)"')


class Counter:
    """What all followers have sent."""

    def __init__(self, followers: int) -> None:
        self.messages = 0
        self.latencies_ms: list[float] = []
        self._followers = followers

    def add(self, text: str) -> None:
        """Count one message to a client."""
        self.messages += 1
        if self._followers == 1 and (match := SENT_AT.search(text)):
            self.latencies_ms.append((time.time() - float(match[1])) * 1_000)

    def take(self) -> dict[str, float]:
        """The figures since the last call."""
        latency_ms = statistics.median(self.latencies_ms) if self.latencies_ms else 0.0
        figures = {"messages": self.messages, "latency_ms": latency_ms}
        self.messages, self.latencies_ms = 0, []
        return figures


class Bare(AsyncJsonWebsocketConsumer):
    """As in the tutorial of Channels: a group, and a handler that sends."""

    async def connect(self) -> None:
        """Join."""
        await self.channel_layer.group_add(f"project-{self.scope['topic']}", self.channel_name)
        await self.accept()

    async def task_changed(self, event: dict[str, Any]) -> None:
        """Send the snapshot to the client."""
        await self.send_json(event["snapshot"])


class Mixin(FollowMixin, AsyncJsonWebsocketConsumer):
    """The same with `FollowMixin`."""

    async def connect(self) -> None:
        """Follow."""
        await self.follow(f"project:{self.scope['topic']}")
        await self.accept()

    async def task_changed(self, snapshot: Snapshot) -> None:
        """Send the snapshot to the client."""
        await self.send_json(snapshot.to_json())


class Page:
    """A page's outlet, without its line."""

    form = staticmethod(str)

    def __init__(self, counter: Counter) -> None:
        self.write = counter.add

    def end(self) -> None:
        """Nothing to end."""


async def connect(consumer: type[AsyncJsonWebsocketConsumer], topic: int, counter: Counter) -> None:
    """Connect a client; returns when it is accepted."""
    accepted, messages = asyncio.Event(), [{"type": "websocket.connect"}]

    async def receive() -> Mapping[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Mapping[str, Any]) -> None:
        accepted.set() if message["type"] == "websocket.accept" else counter.add(message["text"])

    scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b"", "topic": topic}
    scope["user"] = AnonymousUser()
    asyncio.get_running_loop().create_task(consumer.as_asgi()(scope, receive, send)).add_done_callback(_end)
    await accepted.wait()


def _end(task: "asyncio.Task[None]") -> None:
    """No consumer ends before the measurement does."""
    traceback.print_exception(task.exception())
    os._exit(1)


async def main() -> None:
    """Follow, then answer."""
    kind, followers, topics = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    counter = Counter(followers)
    for number in range(followers):
        if kind == "page":
            client = driver().open(POLICY, Page(counter))
            client.admit(issue([f"project:{number % topics}"], ttl_s=3_600))
        else:
            await connect(Bare if kind == "bare" else Mixin, number % topics, counter)
    await asyncio.sleep(1.5)
    print("ready", flush=True)
    cpu_s = time.process_time()
    while await asyncio.to_thread(sys.stdin.readline):
        now_s = time.process_time()
        print(json.dumps({"cpu_us": (now_s - cpu_s) * 1e6, **counter.take()}), flush=True)
        cpu_s = now_s
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
