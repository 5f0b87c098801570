"""The message that every contender delivers, and how its bytes are recorded on their way through Redis.

The message is 200 bytes of JSON with a token, by which the load generator finds it in any envelope (native/token.h).
For contenders that use Redis, their own publishing call runs once and the bytes that reach Redis are recorded. The
load generator repeats these bytes with new numbers, so the speed of a publishing library is not part of any figure.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

import redis

from benchmarks.rig.paths import ROOT

SIZE: Final = 200
"""Bytes of the message, without its envelope."""
TOKEN: Final = f"@{0:010}@{0:019}@"
TOPIC: Final = "tab00000"
"""The topic of the recorded message; follower i follows topic number i modulo the number of topics."""
FIRST_SEQ: Final = 1_000_000_000
"""The `seq` of a recorded snapshot; the load generator counts upwards from it."""

TIMEOUT_S: Final = 30.0


def topic(number: int) -> str:
    """The name of a topic; all names have the same length."""
    return f"tab{number:05}"


def payload() -> dict[str, str]:
    """The content of a message whose numbers are still blank."""
    padding = SIZE - len(json.dumps({"token": TOKEN, "padding": ""}))
    return {"token": TOKEN, "padding": "x" * padding}


def control_line() -> bytes:
    """The message as servers without Redis read it from their Unix socket: topic, space, JSON, newline."""
    return f"{TOPIC} {json.dumps(payload())}\n".encode()


def publish_command(channel: bytes, body: bytes) -> bytes:
    """A PUBLISH command in Redis' protocol."""
    words = (b"PUBLISH", channel, body)
    return b"*3\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def recorded(publish: Sequence[str], env: Mapping[str, str], port: int) -> bytes:
    """Run the command `publish` and return what it published through the Redis at `port`, as a PUBLISH command."""
    with redis.Redis(port=port) as client, client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.psubscribe("*")
        subscriber.get_message(timeout=TIMEOUT_S)
        subprocess.run(publish, env=dict(env), cwd=ROOT, check=True, timeout=TIMEOUT_S)
        while received := subscriber.get_message(timeout=TIMEOUT_S):
            if TOKEN.encode() in received["data"]:
                return publish_command(received["channel"], received["data"])
    raise RuntimeError(f"{publish} published nothing that contains {TOKEN}.")
