"""A TCP proxy with the faults of real lines: they are slow, cut, frozen, half closed, reset, or lose all. In a thread.

    with FaultProxy(site.port) as proxy:
        client = connect(proxy.url)
        proxy.black_hole()

A verb acts on open connections and on new ones. It may be called from any thread, and has acted when it returns.
"""

import asyncio
import itertools
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self
from weakref import WeakSet

CHUNK: Final = 65_536
NARROW_BYTES: Final = 4_096
"""The receive buffer of a throttled line, so that little is on its way."""
WATCH_EVERY_S: Final = 0.05
STEPS_OF_ACCEPTING: Final = 5
"""After so many turns of the loop, a connection that it has just accepted is in `_accept`.

Before that, the socket would stay open: if its task is cancelled before the first step, or the server is closed.
"""
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: what is not sent is dropped, and the peer gets a reset."""


@dataclass
class Faults:
    """What is wrong with the lines at the moment; each value is None or 0 without that fault."""

    delay_s: float = 0.0
    """Each way: half of a round trip. TCP's handshake takes a whole one."""
    bytes_per_s: float | None = None
    cut_after_bytes: int | None = None
    """Of the server's answers on one line."""
    idle_s: float | None = None
    """A line on which nothing passes for this long is closed, as proxies do."""
    age_s: float | None = None
    """A line that is this old is closed, as load balancers do."""
    is_black_hole: bool = False
    passes: asyncio.Event = field(default_factory=asyncio.Event)
    """Not set while the lines are frozen."""


class FaultProxy:
    """Carries TCP connections to a port of this machine."""

    def __init__(
        self,
        port: int,
        *,
        other_ports: Sequence[int] = (),
        delay_s: float = 0.0,
        bytes_per_s: float | None = None,
        idle_s: float | None = None,
        age_s: float | None = None,
        alters: Callable[[bytes], bytes] = bytes,
    ) -> None:
        """`other_ports`: of further servers; the connections go to all servers in turn. `alters`: changes answers."""
        self.alters = alters
        self._ports = itertools.cycle([port, *other_ports])
        self.faults = Faults(delay_s=delay_s, bytes_per_s=bytes_per_s, idle_s=idle_s, age_s=age_s)
        self.faults.passes.set()
        self._lines: set[_Line] = set()
        self._transports: WeakSet[asyncio.WriteTransport] = WeakSet()
        self.accepted = 0
        """How many connections clients have opened."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self._server = self._await(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._await(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # Verbs ---------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Close the open connections on both sides; new ones work."""
        self._for_each(_Line.close)

    def cut_after(self, count: int) -> None:
        """Close each connection once so many bytes of the server's have passed."""
        self._set(cut_after_bytes=count)

    def reset(self) -> None:
        """Reset the open connections (RST) on both sides; new ones work."""
        self._for_each(_Line.reset)

    def half_close(self) -> None:
        """End the server's half of the open connections: the client reads the end, and may go on writing."""
        self._for_each(_Line.half_close)

    def freeze(self) -> None:
        """Let nothing pass until `heal`; what is sent meanwhile arrives then."""
        self._await(self._call(self.faults.passes.clear))

    def black_hole(self) -> None:
        """Lose all that is sent, both ways, closings too, until `heal`: no side learns of it."""
        self._set(is_black_hole=True)

    def throttle(self, bytes_per_s: float) -> None:
        """Let this many bytes a second pass, each way on each connection."""
        self._set(bytes_per_s=bytes_per_s)

    def heal(self) -> None:
        """End all faults. A connection that has lost bytes is reset."""
        self._set(delay_s=0.0, bytes_per_s=None, cut_after_bytes=None, idle_s=None, age_s=None, is_black_hole=False)
        self._await(self._call(self.faults.passes.set))
        self._for_each(lambda line: line.reset() if line.has_lost else None)

    # On the loop ---------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._transports.add(writer.transport)
        with suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            await self._carry(reader, writer)
        with suppress(OSError):
            writer.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes = b"", *, is_held: bool = False
    ) -> None:
        """Connect to the server, send it `first`, and pass all else on; hold the answer back to its end if asked."""
        server = await self._connect()
        line = _Line(self.faults, (reader, writer), server, self.alters)
        self._lines.add(line)
        try:
            server[1].write(first)
            await line.carry(is_held=is_held)
        finally:
            self._lines.discard(line)
            line.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        outgoing = socket.socket()
        outgoing.setblocking(False)
        narrow = self.faults.bytes_per_s is not None
        if narrow:
            outgoing.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW_BYTES)
        try:
            await self._loop.sock_connect(outgoing, ("127.0.0.1", next(self._ports)))
            streams = await asyncio.open_connection(sock=outgoing, limit=NARROW_BYTES if narrow else CHUNK)
        except BaseException:
            outgoing.close()
            raise
        self._transports.add(streams[1].transport)
        return streams

    async def _close(self) -> None:
        for listening in self._server.sockets:
            self._loop.remove_reader(listening.fileno())
        for _ in range(STEPS_OF_ACCEPTING):
            await asyncio.sleep(0)
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for transport in list(self._transports):
            transport.abort()  # One that has something to write would close later than the loop.
        await asyncio.sleep(0)

    async def _call(self, function: Callable[[], Any]) -> None:
        function()

    def _await(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def _set(self, **values: Any) -> None:
        def change() -> None:
            for name, value in values.items():
                setattr(self.faults, name, value)

        self._await(self._call(change))

    def _for_each(self, act: Callable[["_Line"], None]) -> None:
        self._await(self._call(lambda: [act(line) for line in list(self._lines)]))


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Arrivals = asyncio.Queue[tuple[float, bytes]]


class _Line:
    """The connection of one client, and the one to the server."""

    def __init__(
        self, faults: Faults, client: Streams, server: Streams, alters: Callable[[bytes], bytes] = bytes
    ) -> None:
        self.faults, self._client, self._server, self._alters = faults, client, server, alters
        self.has_lost = False
        self._began_at = self._passed_at = time.monotonic()
        self._answered_bytes = 0
        self._task: asyncio.Future[Any] | None = None

    async def carry(self, *, is_held: bool) -> None:
        """Pass all on, both ways, until both sides have ended."""
        self._task = asyncio.gather(
            self._pass_on(self._client[0], self._server[1], self._write),
            self._pass_on(self._server[0], self._client[1], self._write_at_the_end if is_held else self._write_answer),
        )
        watch = asyncio.create_task(self._watch())
        try:
            await self._task
        finally:
            watch.cancel()

    def close(self) -> None:
        for _reader, writer in (self._client, self._server):
            writer.close()
        if self._task is not None:
            self._task.cancel()

    def reset(self) -> None:
        for _reader, writer in (self._client, self._server):
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        self.close()

    def half_close(self) -> None:
        with suppress(OSError):
            self._client[1].write_eof()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        write: Callable[[Arrivals, asyncio.StreamWriter], Awaitable[None]],
    ) -> None:
        arrivals: Arrivals = asyncio.Queue(1_000)
        writing = asyncio.ensure_future(write(arrivals, writer))
        open_at = self._began_at + 2 * self.faults.delay_s
        try:
            data = b"-"
            while data:
                data = await self._read(reader)
                await arrivals.put((max(time.monotonic(), open_at) + self.faults.delay_s, data))
            await writing
        finally:
            writing.cancel()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next bytes, after the time that a throttled line takes for them; nothing at the end."""
        rate = self.faults.bytes_per_s
        try:
            data = await reader.read(CHUNK if rate is None else max(1, int(rate / 10)))
        except OSError:
            data = b""
        if rate is not None:
            await asyncio.sleep(len(data) / rate)
        return data

    async def _next(self, arrivals: Arrivals) -> bytes:
        """Return what arrives next. A black hole lets nothing arrive, not even the end."""
        while True:
            due_at, data = await arrivals.get()
            await asyncio.sleep(due_at - time.monotonic())
            await self.faults.passes.wait()
            if not self.faults.is_black_hole:
                self._passed_at = time.monotonic()
                return data
            self.has_lost = True

    async def _write(self, arrivals: Arrivals, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await self._next(arrivals):
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    async def _write_answer(self, arrivals: Arrivals, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := self._alters(await self._next(arrivals)):
                limit = self.faults.cut_after_bytes
                writer.write(data if limit is None else data[: max(0, limit - self._answered_bytes)])
                self._answered_bytes += len(data)
                await writer.drain()
                if limit is not None and self._answered_bytes >= limit:
                    return self.close()
            writer.write_eof()

    async def _write_at_the_end(self, arrivals: Arrivals, writer: asyncio.StreamWriter) -> None:
        answer = b""
        while data := await self._next(arrivals):
            answer += data
        with suppress(OSError):
            writer.write(answer)
            writer.write_eof()

    async def _watch(self) -> None:
        """Close the line when it is idle or old."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            now, idle_s, age_s = time.monotonic(), self.faults.idle_s, self.faults.age_s
            is_idle = idle_s is not None and now - self._passed_at >= idle_s
            if is_idle or (age_s is not None and now - self._began_at >= age_s):
                self.close()
