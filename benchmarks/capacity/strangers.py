"""Connections beside the load's, by plain sockets: to cut a handshake into its parts, and to have Redis tell more.

They do one step at a time, all together, so that each step's cost can be read. Used by `calibrate.py` alone.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.contenders.telltale import LIVE

WAIT_S = 10.0


@contextmanager
def callers(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connected, and silent."""
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", port), WAIT_S)) for _ in range(count)]


def ask(callers: list[socket.socket]) -> None:
    """Have all of them shake hands; returns when all are answered. Raises `RuntimeError` at a refusal."""
    words = [
        f"GET {LIVE} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    for caller in callers:
        caller.sendall("\r\n".join([*words, "", ""]).encode())
    for caller in callers:
        answer = caller.recv(4_096)
        if not answer.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(f"A handshake was answered by {answer[:80]!r}.")


@contextmanager
def ears(port: int, count: int) -> Iterator[None]:
    """More who hear all channels of the Redis at `port`, and leave what comes in the kernel's buffers."""
    with ExitStack() as stack:
        for _ in range(count):
            ear = stack.enter_context(socket.create_connection(("127.0.0.1", port), WAIT_S))
            ear.sendall(b"PSUBSCRIBE *\r\n")
            ear.recv(4_096)
        yield
