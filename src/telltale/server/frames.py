"""Bytes that many clients share: a message as a WebSocket frame, or as a chunk of an event stream.

They are made once for each message and written unchanged to every client (RFC 6455, 5.2; RFC 9112, 7.1).
`holds_whole_messages` says whether one parser can read the data of many clients. Used by the live server's protocols.
"""

from typing import Final

from websockets.frames import Frame, Opcode

from telltale.transports.sse import event_bytes

_FIN: Final = 0x80
_OPCODE: Final = 0x0F
_LENGTH: Final = 0x7F
_MASK_BYTES: Final = 4
_LENGTH_BYTES: Final = {126: 2, 127: 8}


def text_frame(text: str) -> bytes:
    """Return a message as a WebSocket frame."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


def closing_frame(code: int, reason: str) -> bytes:
    """Return the WebSocket frame that closes a connection; `reason` has at most 123 bytes of UTF-8."""
    return Frame(Opcode.CLOSE, code.to_bytes(2, "big") + reason.encode()).serialize(mask=False)


def event_chunk(text: str) -> bytes:
    """Return a message as one chunk of an event stream over HTTP/1.1."""
    return chunk(event_bytes(text))


def chunk(data: bytes) -> bytes:
    """Return `data` as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK: Final = b"0\r\n\r\n"


def holds_whole_messages(data: bytes, *, max_frames: int = 64) -> bool:
    """Whether a client's `data` is whole messages only: no frame is a fragment, and the last ends where it ends.

    False also for more than `max_frames` frames, so that the check is cheap for any data.
    """
    position, end = 0, len(data)
    for _frame in range(max_frames):
        if position + 2 > end:
            break
        first_byte, size = data[position], data[position + 1] & _LENGTH
        if not first_byte & _FIN or not first_byte & _OPCODE:
            return False
        position += 2
        if (length_bytes := _LENGTH_BYTES.get(size, 0)) != 0:
            size = int.from_bytes(data[position : position + length_bytes], "big")
        position += length_bytes + _MASK_BYTES + size
    return position == end
