"""Ten thousand followers in one thread: WebSocket clients that implement docs/protocol.md and record what they receive.

Each follows one task. They parse frames themselves, because a library would cost too much per client: a server's
frames are unmasked, and a client's own are short.
"""

import asyncio
import json
import re
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from tests.transports.raw import UPGRADE
from tests.transports.slow import masked

IN_FLIGHT: Final = 200
"""Handshakes at a time."""

SNAPSHOT: Final = re.compile(rb'"attempt":(\d+),"seq":(\d+)')

CLOSE: Final = 8


class Follower(asyncio.Protocol):
    """One client."""

    __slots__ = (
        "_ack_every",
        "_all",
        "_buffer",
        "_ticket",
        "_transport",
        "_unacknowledged",
        "is_lost",
        "is_open",
        "newest",
        "number",
    )

    def __init__(self, all_followers: "Followers", number: int, ticket: str) -> None:
        self.number = number
        """The number of its ticket."""
        self._all, self._ticket = all_followers, ticket
        self._buffer = b""
        self._unacknowledged, self._ack_every = 0, 16_384
        self.newest = (0, 0)
        """The attempt and seq of the newest snapshot."""
        self.is_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_lost = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        lines = ["GET /telltale/live/ HTTP/1.1", f"Host: 127.0.0.1:{self._all.port}", *UPGRADE, "", ""]
        transport.write("\r\n".join(lines).encode())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.is_open.done() and self._ticket:
            head, end, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            assert b" 101 " in head, head
            self._send({"type": "hello", "v": 1, "ticket": self._ticket})
            self._ticket = ""
        self._buffer = self._read(self._buffer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if not self.is_open.done():
            self.is_open.set_exception(exc or ConnectionResetError("The connection was closed before it was greeted."))

    def _read(self, data: bytes) -> bytes:
        """Handle all complete frames; return the rest."""
        at = 0
        while len(data) >= at + 2:
            size, starts = data[at + 1], at + 2
            if size >= 126:
                starts += 2 if size == 126 else 8
                size = int.from_bytes(data[at + 2 : starts], "big")
            if len(data) < starts + size:
                break
            self._handle(data[at] & 0x0F, data[starts : starts + size])
            at = starts + size
        return data[at:]

    def _handle(self, opcode: int, text: bytes) -> None:
        if opcode == CLOSE:
            self._all.close_reasons.append(text[2:].decode())
            return self._transport.close()
        for snapshot in SNAPSHOT.finditer(text):
            self._count((int(snapshot[1]), int(snapshot[2])))
        if text.startswith(b'{"type":"update"'):
            self._all.deliveries += 1
            self._acknowledge_if_due(text)
        else:
            self._answer(text)

    def _count(self, order: tuple[int, int]) -> None:
        if order < self.newest:
            self._all.went_back += 1
        self.newest = max(self.newest, order)

    def _answer(self, text: bytes) -> None:
        message = json.loads(text)
        if message["type"] == "hello":
            self._ack_every = message["ack_every"]
            self.is_open.set_result(None)
        if message["type"] == "ping" and "n" in message:
            self._unacknowledged = 0
            self._send({"type": "ack", "n": message["n"]})

    def _acknowledge_if_due(self, text: bytes) -> None:
        self._unacknowledged += len(text)
        if self._unacknowledged >= self._ack_every:
            self._unacknowledged = 0
            self._send({"type": "ack", "n": json.loads(text)["n"]})

    def _send(self, message: dict[str, object]) -> None:
        self._transport.write(masked(json.dumps(message).encode()))

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


class Followers:
    """All followers, in a thread with an event loop. Other threads may read the attributes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.all: list[Follower] = []
        self.deliveries = 0
        self.went_back = 0
        self.close_reasons: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="followers")
        self._thread.start()

    def connect(self, tickets: Sequence[str]) -> float:
        """Connect a follower for each ticket; return the seconds until all were greeted."""
        began = time.monotonic()
        asyncio.run_coroutine_threadsafe(self._connect(tickets), self._loop).result()
        return time.monotonic() - began

    async def _connect(self, tickets: Sequence[str]) -> None:
        waiting = iter(enumerate(tickets))

        async def connect_next() -> None:
            for number, ticket in waiting:
                make = partial(Follower, self, number, ticket)
                _, follower = await self._loop.create_connection(make, "127.0.0.1", self.port)
                await follower.is_open
                self.all.append(follower)

        await asyncio.gather(*(connect_next() for _ in range(IN_FLIGHT)))

    def close(self) -> None:
        """Close all connections and end the thread."""

        async def close_all() -> None:
            for follower in self.all:
                follower.close()
            await asyncio.sleep(1)

        asyncio.run_coroutine_threadsafe(close_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()
