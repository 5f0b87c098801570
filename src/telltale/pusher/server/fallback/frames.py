"""The frames of the HTTP transports, and the bodies that clients send. Pure.

A frame is one line: `o{}` opens a session, `a[…]` carries messages, `h` shows that the line works, `c[code,"reason"]`
closes the session. Each message is a JSON string, which itself holds JSON. All of it is ASCII, so bytes are characters.
"""

import json
from collections.abc import Iterable
from typing import Final

from telltale.pusher.protocol.api_refusal import ApiRefusal
from telltale.pusher.protocol.close_codes import Code
from telltale.pusher.protocol.messages import encode
from telltale.pusher.protocol.strict_json import InvalidJson, decode

OPEN: Final = b"o{}\n"
"""Sent once: a client takes a second one as a sign that the server has lost its session."""

HEARTBEAT: Final = b"h\n"

STREAM_CHARACTERS: Final = 262_144
"""Once a stream has more, the client reads it to its end, leaves it and opens another one."""

MESSAGES_PER_BODY: Final = 100
"""Clients send one."""


def form(text: str) -> bytes:
    """Return a message as a JSON string; all clients share it."""
    return json.dumps(text).encode()


def messages(payloads: Iterable[bytes]) -> bytes:
    """Return the frame of formed messages."""
    return b"a[" + b",".join(payloads) + b"]\n"


def closing(code: Code) -> bytes:
    """Return the frame that closes a session."""
    return f"c{encode([code.number, code.text])}\n".encode()


def read_messages(body: bytes) -> list[str]:
    """Return the messages of a body; none is a sign of life. Raises `ApiRefusal`."""
    try:
        texts = decode(body.decode())
    except (UnicodeDecodeError, InvalidJson) as error:
        raise ApiRefusal(400, "The body is not valid JSON: send a list of strings.") from error
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ApiRefusal(400, "The body is not a list of strings: send each message as a string of JSON.")
    if len(texts) > MESSAGES_PER_BODY:
        raise ApiRefusal(400, f"The body has {len(texts):,} messages; send at most {MESSAGES_PER_BODY}.")
    return texts
