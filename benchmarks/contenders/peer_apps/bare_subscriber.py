"""A minimal Redis subscriber: one subscription and a hand-written WebSocket protocol. The lower bound for Python.

    python -m benchmarks.contenders.peer_apps.bare_subscriber PORT REDIS_PORT

Uses uvloop and hiredis. Each message is encoded once, and the same bytes are written to all followers of its topic.
Messages are a topic, a space and a text, all in the channel `bench`. It has no tickets, no limits and no handling of
slow clients; a follower's topic is the last part of its request's path.
"""

import asyncio
import base64
import hashlib
import re
import struct
import sys
from collections import defaultdict

import hiredis
import uvloop

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
REQUEST = re.compile(rb"GET \S*/(\w+) HTTP/1\.1\r\n.*?sec-websocket-key: (\S+)", re.IGNORECASE | re.DOTALL)
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)

followers: defaultdict[bytes, set[asyncio.Transport]] = defaultdict(set)


class Follower(asyncio.Protocol):
    """One client. Data after its handshake is ignored."""

    __slots__ = ("topic", "transport")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """It has no topic until its handshake."""
        self.transport, self.topic = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer the handshake, which arrives in one piece on the loopback interface."""
        if self.topic or not (request := REQUEST.match(data)):
            return
        self.topic = request[1]
        followers[self.topic].add(self.transport)
        accept = base64.b64encode(hashlib.sha1(request[2] + GUID, usedforsecurity=False).digest())
        self.transport.write(ANSWER % accept)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove it."""
        followers[self.topic].discard(self.transport)


class Subscriber(asyncio.Protocol):
    """The connection to Redis."""

    def __init__(self) -> None:
        self.reader = hiredis.Reader()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Subscribe."""
        transport.write(b"*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nbench\r\n")

    def data_received(self, data: bytes) -> None:
        """Write each message to the followers of its topic."""
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            if reply[0] == b"message":
                topic, text = reply[2].split(b" ", 1)
                frame = text_frame(text)
                for transport in followers[topic]:
                    transport.write(frame)


def text_frame(text: bytes) -> bytes:
    """A WebSocket text frame of less than 64 KiB."""
    size = len(text)
    return (struct.pack("!BB", 0x81, size) if size < 126 else struct.pack("!BBH", 0x81, 126, size)) + text


async def main(port: int, redis_port: int) -> None:
    """Subscribe, then serve."""
    loop = asyncio.get_running_loop()
    await loop.create_connection(Subscriber, "127.0.0.1", redis_port)
    server = await loop.create_server(Follower, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(*map(int, sys.argv[1:])))
