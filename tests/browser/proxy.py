"""A small HTTP proxy that refuses WebSockets, event streams or both, or buffers responses, as some real ones do.

Each request gets a connection of its own, so that the proxy sees every request.
"""

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Sequence
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Self

REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def is_websocket(head: bytes) -> bool:
    return b"upgrade: websocket" in head.lower()


def is_event_stream(head: bytes) -> bool:
    return b"accept: text/event-stream" in head.lower()


class Proxy(ThreadingTCPServer):
    """Forwards to the server on `port`; refuses a request if any of `refuses` returns True for its head."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(
        self,
        port: int,
        *refuses: Callable[[bytes], bool],
        buffers: Callable[[bytes], bool] | None = None,
        other_ports: Sequence[int] = (),
    ) -> None:
        """`buffers`: whether the response to the request with this head is held back until it is complete.

        `other_ports`: of further servers; the requests go to all servers in turn.
        """
        super().__init__(("127.0.0.1", 0), _Handler)
        self.targets = itertools.cycle([("127.0.0.1", target) for target in (port, *other_ports)])
        self.refuses = refuses
        self.buffers = buffers
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
        """Report nothing: browsers close connections at any time."""


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
        with socket.create_connection(next(self.server.targets)) as upstream:
            upstream.sendall(_without_keep_alive(head))
            copy = _copy_at_its_end if self.server.buffers is not None and self.server.buffers(head) else _copy
            downstream = threading.Thread(target=copy, args=(upstream, self.request), daemon=True)
            downstream.start()
            _copy(self.request, upstream)
            downstream.join()


def _head(client: socket.socket) -> bytes:
    """Return the first bytes of the request, at least its whole head; empty if the client sent none."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = client.recv(65_536)
        if not data:
            return b""
        head += data
    return head


def _without_keep_alive(head: bytes) -> bytes:
    """Return the same request with a header that makes the server close the connection after its answer."""
    if is_websocket(head):
        return head
    lines, _, body = head.partition(b"\r\n\r\n")
    request_line, *headers = [line for line in lines.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([request_line, b"Connection: close", *headers, b"", body])


def _copy_at_its_end(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        whole = b"".join(iter(lambda: source.recv(65_536), b""))
        target.sendall(whole)
        target.shutdown(socket.SHUT_WR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
