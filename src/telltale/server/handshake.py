"""A WebSocket's handshake, answered: what is asked, in headers that somebody has parsed; what is said to it, in bytes.

RFC 6455, 4.2. No extension is ever agreed to: compressing each message for each client costs more than it saves.
Used by the live server's protocols; knows the door (`live/access.py`), and no sockets.
"""

import base64
import binascii
from http import HTTPStatus
from typing import Final

from websockets.utils import accept_key

from telltale.live.access import is_known_host, is_trusted_origin
from telltale.transports.http import Scope, header

KEY_BYTES: Final = 16

_WELCOME: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)


class Refused(Exception):
    """A handshake that is not accepted; `answer` is what to say before the line is closed."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        body = words.encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nSec-WebSocket-Version: 13\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.answer = head.encode() + body


def welcome(scope: Scope) -> bytes:
    """What opens the socket; raises `Refused`. That it asks for a WebSocket by GET, the server has seen already."""
    if not (is_known_host(scope) and is_trusted_origin(scope)):
        raise Refused(HTTPStatus.FORBIDDEN, "This page may not listen here.\n")
    if header(scope, b"sec-websocket-version") != "13":
        raise Refused(HTTPStatus.UPGRADE_REQUIRED, "Ask for version 13 of the WebSocket protocol.\n")
    key = header(scope, b"sec-websocket-key")
    if not _is_key(key):
        raise Refused(HTTPStatus.BAD_REQUEST, f"Sec-WebSocket-Key has {KEY_BYTES} bytes, in base64.\n")
    return _WELCOME % accept_key(key).encode()


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False
