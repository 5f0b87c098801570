"""A TCP proxy that adds a round trip's time, as a line to a distant server does. It limits no bandwidth."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def slow_line(port: int, round_trip_s: float) -> Iterator[str]:
    """Yield a URL that leads to `port` of this machine with a round trip of at least `round_trip_s`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    line = _Line(port, round_trip_s / 2)
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(line.carry, "127.0.0.1", 0), loop).result()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Line:
    def __init__(self, port: int, delay_s: float) -> None:
        self._port, self._delay_s = port, delay_s

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection. TCP's handshake takes a round trip before the first byte goes out."""
        handshake_ends = time.monotonic() + 2 * self._delay_s
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await asyncio.gather(
                self._pass_on(reader, server_writer, handshake_ends),
                self._pass_on(server_reader, writer, handshake_ends),
            )
        except asyncio.CancelledError:
            pass  # the measurement has ended
        finally:
            for closed in (writer, server_writer):
                closed.close()
                with suppress(OSError):
                    await closed.wait_closed()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, not_before: float) -> None:
        arrivals: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def write() -> None:
            while True:
                due, data = await arrivals.get()
                await asyncio.sleep(due - time.monotonic())
                if not data:
                    return writer.close()
                writer.write(data)

        writing = asyncio.create_task(write())
        data = b"-"
        while data:
            data = b""
            with suppress(OSError):
                data = await reader.read(65_536)
            arrivals.put_nowait((max(time.monotonic(), not_before) + self._delay_s, data))
        await writing
