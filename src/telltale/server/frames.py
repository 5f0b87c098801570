"""Bytes that many clients share: a message as a WebSocket frame, or as a chunk of an event stream.

Built once a message, and written as they are to every client (RFC 6455, 5.2; RFC 9112, 7.1). What clients send
is read by `websockets`; here is only told whether it can be read without a memory. Used by the live server's
protocols.
"""

import struct
from typing import Final

from telltale.transports.sse import event_of

_SHORT: Final = struct.Struct(">BB").pack
_MEDIUM: Final = struct.Struct(">BBH").pack
_LONG: Final = struct.Struct(">BBQ").pack

_TEXT: Final = 0x81
"""A whole text message: FIN, opcode 1."""

_FIN: Final = 0x80
_MASK_BYTES: Final = 4
_LENGTH_BYTES: Final = {126: 2, 127: 8}


def text_frame(text: str) -> bytes:
    """A message to a WebSocket client."""
    data = text.encode()
    size = len(data)
    if size < 126:
        return _SHORT(_TEXT, size) + data
    return (_MEDIUM(_TEXT, 126, size) if size < 65_536 else _LONG(_TEXT, 127, size)) + data


def event_chunk(text: str) -> bytes:
    """A message to the reader of an event stream over HTTP/1.1."""
    return chunk(event_of(text))


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK: Final = b"0\r\n\r\n"


def are_whole(data: bytes, *, most: int = 64) -> bool:
    """Whether `data` is nothing but whole messages of a client: frames that end where it ends, none a fragment.

    False also for more than `most` frames, so that a look costs little whatever a client sends.
    """
    at, end = 0, len(data)
    for _frame in range(most):
        if at + 2 > end:
            break
        begins, size = data[at], data[at + 1] & 0x7F
        if not begins & _FIN or not begins & 0x0F:
            return False
        at += 2
        if (more := _LENGTH_BYTES.get(size, 0)) != 0:
            size = int.from_bytes(data[at : at + more], "big")
        at += more + _MASK_BYTES + size
    return at == end
