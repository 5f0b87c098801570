"""A small HTTP proxy that refuses what some real ones refuse: WebSockets, and if asked event streams.

Each request gets a connection of its own, so that every one is seen and can be refused.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Self

REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def is_websocket(head: bytes) -> bool:
    return b"upgrade: websocket" in head.lower()


def is_event_stream(head: bytes) -> bool:
    return b"accept: text/event-stream" in head.lower()


class Proxy(ThreadingTCPServer):
    """Before a server on `port`; refuses requests whose head any of `refuses` is true of."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, port: int, *refuses: Callable[[bytes], bool]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = ("127.0.0.1", port)
        self.refuses = refuses
        self.refused: list[bytes] = []
        self.passed: list[bytes] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that goes away in the middle is nothing to report."""


class _Handler(BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        head = _head(self.request)
        if not head:
            return
        if any(refuse(head) for refuse in self.server.refuses):
            self.server.refused.append(head)
            self.request.sendall(REFUSAL)
            return
        self.server.passed.append(head)
        with socket.create_connection(self.server.target) as upstream:
            upstream.sendall(_once(head))
            back = threading.Thread(target=_pipe, args=(upstream, self.request), daemon=True)
            back.start()
            _pipe(self.request, upstream)
            back.join()


def _head(client: socket.socket) -> bytes:
    """The first bytes of a request, with at least its whole head; empty if there is none."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = client.recv(65_536)
        if not piece:
            return b""
        head += piece
    return head


def _once(head: bytes) -> bytes:
    """The same request, but the server closes the connection after its answer."""
    if is_websocket(head):
        return head
    lines, _, body = head.partition(b"\r\n\r\n")
    first, *others = [line for line in lines.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([first, b"Connection: close", *others, b"", body])


def _pipe(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
