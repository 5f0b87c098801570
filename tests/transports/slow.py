"""Clients that stop reading after they have opened a socket or a stream."""

import json
import socket
from typing import Final

from telltale.live import tickets
from tests.transports.sites import Site

WINDOW_BYTES: Final = 4_096
"""The receive buffer of the client's kernel, or a little less than it really takes."""

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="


def slow_socket(site: Site, topic: str) -> socket.socket:
    """Return a client that reads nothing after its hello."""
    line = _connect(site)
    line.sendall(
        f"GET /telltale/live/ HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b" 101 " in line.recv(4096)
    line.sendall(masked(json.dumps({"type": "hello", "v": 1, "ticket": tickets.issue([topic])}).encode()))
    assert line.recv(1)
    return line


def slow_stream(site: Site, topic: str) -> socket.socket:
    """Return a client that reads nothing after the beginning of the stream."""
    line = _connect(site)
    line.sendall(
        f"GET /telltale/live/ HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nAccept: text/event-stream\r\n"
        f"Authorization: Bearer {tickets.issue([topic])}\r\n\r\n".encode()
    )
    assert b" 200 " in line.recv(16)
    return line


def is_cut(line: socket.socket) -> bool:
    """Whether the server has closed the connection. Reads all data that is on its way."""
    line.settimeout(30)
    try:
        while line.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def masked(data: bytes, opcode: int = 1, *, fin: bool = True, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    """Return a client's frame of any kind, also one that no client should send."""
    size = len(data)
    head = bytes([opcode | (0x80 if fin else 0)])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65_536:
        head += bytes([0xFE]) + size.to_bytes(2, "big")
    else:
        head += bytes([0xFF]) + size.to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[k % 4] for k, byte in enumerate(data))


def _connect(site: Site) -> socket.socket:
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
    line.settimeout(30)
    line.connect(("127.0.0.1", site.port))
    return line
