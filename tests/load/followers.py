"""Ten thousand followers in one thread: sockets that do what the protocol asks of a client, and remember what they saw.

Each follows one task. What a library would spend on a socket is not here: frames come unmasked and whole or in
pieces, and a client's own are short. Knows the protocol of docs/protocol.md alone.
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

AT_ONCE: Final = 200
"""Handshakes under way."""

SNAPSHOT: Final = re.compile(rb'"attempt":(\d+),"seq":(\d+)')

CLOSE: Final = 8


class Follower(asyncio.Protocol):
    """One socket."""

    __slots__ = (
        "_ack_every",
        "_came",
        "_crowd",
        "_owed",
        "_ticket",
        "_transport",
        "is_lost",
        "is_open",
        "number",
        "seen",
    )

    def __init__(self, crowd: "Crowd", number: int, ticket: str) -> None:
        self.number = number
        """Of its ticket, among all."""
        self._crowd, self._ticket = crowd, ticket
        self._came = b""
        self._owed, self._ack_every = 0, 16_384
        self.seen = (0, 0)
        """The newest snapshot's attempt and seq."""
        self.is_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_lost = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        lines = ["GET /telltale/live/ HTTP/1.1", f"Host: 127.0.0.1:{self._crowd.port}", *UPGRADE, "", ""]
        transport.write("\r\n".join(lines).encode())

    def data_received(self, data: bytes) -> None:
        self._came += data
        if not self.is_open.done() and self._ticket:
            head, end, self._came = self._came.partition(b"\r\n\r\n")
            if not end:
                self._came = head
                return
            assert b" 101 " in head, head
            self._say({"type": "hello", "v": 1, "ticket": self._ticket})
            self._ticket = ""
        self._came = self._read(self._came)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if not self.is_open.done():
            self.is_open.set_exception(exc or ConnectionResetError("It ended before it had begun."))

    def _read(self, data: bytes) -> bytes:
        """Handle all whole frames; what is left of one."""
        at = 0
        while len(data) >= at + 2:
            size, starts = data[at + 1], at + 2
            if size >= 126:
                starts += 2 if size == 126 else 8
                size = int.from_bytes(data[at + 2 : starts], "big")
            if len(data) < starts + size:
                break
            self._hear(data[at] & 0x0F, data[starts : starts + size])
            at = starts + size
        return data[at:]

    def _hear(self, opcode: int, text: bytes) -> None:
        if opcode == CLOSE:
            self._crowd.farewells.append(text[2:].decode())
            return self._transport.close()
        for snapshot in SNAPSHOT.finditer(text):
            self._see((int(snapshot[1]), int(snapshot[2])))
        if text.startswith(b'{"type":"update"'):
            self._crowd.deliveries += 1
            self._owe(text)
        else:
            self._answer(text)

    def _see(self, order: tuple[int, int]) -> None:
        if order < self.seen:
            self._crowd.went_back += 1
        self.seen = max(self.seen, order)

    def _answer(self, text: bytes) -> None:
        message = json.loads(text)
        if message["type"] == "hello":
            self._ack_every = message["ack_every"]
            self.is_open.set_result(None)
        if message["type"] == "ping" and "n" in message:
            self._owed = 0
            self._say({"type": "ack", "n": message["n"]})

    def _owe(self, text: bytes) -> None:
        self._owed += len(text)
        if self._owed >= self._ack_every:
            self._owed = 0
            self._say({"type": "ack", "n": json.loads(text)["n"]})

    def _say(self, message: dict[str, object]) -> None:
        self._transport.write(masked(json.dumps(message).encode()))

    def leave(self) -> None:
        """Hang up."""
        self._transport.close()


class Crowd:
    """All of them, in a thread with a loop; what they saw may be looked at from any other."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.followers: list[Follower] = []
        self.deliveries = 0
        self.went_back = 0
        self.farewells: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="crowd")
        self._thread.start()

    def comes(self, tickets: Sequence[str]) -> float:
        """A follower for each ticket; returns how many seconds it took until all were greeted."""
        began = time.monotonic()
        asyncio.run_coroutine_threadsafe(self._open(tickets), self._loop).result()
        return time.monotonic() - began

    async def _open(self, tickets: Sequence[str]) -> None:
        waiting = iter(enumerate(tickets))

        async def one_by_one() -> None:
            for number, ticket in waiting:
                make = partial(Follower, self, number, ticket)
                _, follower = await self._loop.create_connection(make, "127.0.0.1", self.port)
                await follower.is_open
                self.followers.append(follower)

        await asyncio.gather(*(one_by_one() for _ in range(AT_ONCE)))

    def goes(self) -> None:
        """All hang up, and the thread ends."""

        async def leave() -> None:
            for follower in self.followers:
                follower.leave()
            await asyncio.sleep(1)

        asyncio.run_coroutine_threadsafe(leave(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()
