"""A bare ASGI app: it keeps each follower's `send` and awaits them in turn. The minimum that an ASGI app must do.

Run by uvicorn. Messages arrive through the Unix socket BENCH_CONTROL, as lines of topic, space and text. A follower's
topic is the last part of its request's path.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]

sockets: defaultdict[str, set[Send]] = defaultdict(set)
streams: defaultdict[str, set[Send]] = defaultdict(set)


async def broadcast(topic: str, text: str) -> None:
    """Send to all followers of the topic."""
    frame = {"type": "websocket.send", "text": text}
    for send in tuple(sockets[topic]):
        await send(frame)
    event = {"type": "http.response.body", "body": f"data: {text}\n\n".encode(), "more_body": True}
    for send in tuple(streams[topic]):
        await send(event)


async def read_messages(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Broadcast the messages in their order."""
    while line := await reader.readline():
        topic, text = line.decode().rstrip().split(" ", 1)
        await broadcast(topic, text)


async def app(scope: Any, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
    """Serve one follower; or open and close the Unix socket at the server's start and stop."""
    if scope["type"] == "lifespan":
        await receive()
        server = await asyncio.start_unix_server(read_messages, os.environ["BENCH_CONTROL"])
        await send({"type": "lifespan.startup.complete"})
        await receive()
        server.close()
        return
    topic = scope["path"].rsplit("/", 1)[1]
    await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await follow(sockets[topic], receive, send, "websocket.disconnect")
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})
        await follow(streams[topic], receive, send, "http.disconnect")


async def follow(followers: set[Send], receive: Callable[[], Awaitable[Message]], send: Send, end: str) -> None:
    """Be among the followers until the client disconnects."""
    followers.add(send)
    try:
        while (await receive())["type"] != end:
            pass
    finally:
        followers.discard(send)
