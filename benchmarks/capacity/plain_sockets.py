"""Connections besides the load generator's: to measure a handshake in parts, and to give Redis more subscribers.

All connections take one step at a time together, so that the cost of each step can be read. Used by `calibrate.py`.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.contenders.telltale import LIVE_PATH

TIMEOUT_S = 10.0


@contextmanager
def connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connected sockets that have sent nothing."""
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", port), TIMEOUT_S)) for _ in range(count)]


def upgrade(connections: list[socket.socket]) -> None:
    """Complete the WebSocket handshake on all connections; raises `RuntimeError` if one is refused."""
    lines = [
        f"GET {LIVE_PATH} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    for connection in connections:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
    for connection in connections:
        answer = connection.recv(4_096)
        if not answer.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(f"A handshake was refused: {answer[:80]!r}.")


@contextmanager
def subscribers(port: int, count: int) -> Iterator[None]:
    """Subscribers to all channels of the Redis at `port`; messages stay unread in the kernel's buffers."""
    with ExitStack() as stack:
        for _ in range(count):
            subscriber = stack.enter_context(socket.create_connection(("127.0.0.1", port), TIMEOUT_S))
            subscriber.sendall(b"PSUBSCRIBE *\r\n")
            subscriber.recv(4_096)
        yield
