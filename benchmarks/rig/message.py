"""The message that all contenders carry, and how its bytes are recorded on their way through Redis.

Two hundred bytes of JSON with a token in it, by which the load knows it in any envelope (native/token.h). Where a
contender is fed through Redis, its own publishing call is made once, what Redis hears is kept, and the load says
that again with new numbers: so no library's slowness in publishing is measured as its server's.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import redis

SIZE: Final = 200
"""Bytes of the message, whatever its envelope."""
TOKEN: Final = f"@{0:010}@{0:019}@"
TOPIC: Final = "tab00000"
"""Of the recorded message; follower i follows the topic of i's number."""
ORDER: Final = 1_000_000_000
"""What a recorded snapshot has for `seq`; the load counts upwards from it."""

PATIENCE_S: Final = 30.0


def topic(number: int) -> str:
    """The name of a topic, of the same length as all others."""
    return f"tab{number:05}"


def payload() -> dict[str, str]:
    """What a message says, before it has numbers."""
    padding = SIZE - len(json.dumps({"token": TOKEN, "padding": ""}))
    return {"token": TOKEN, "padding": "x" * padding}


def line() -> bytes:
    """The message as those understand it who are fed by a Unix socket: topic, space, JSON, end of line."""
    return f"{TOPIC} {json.dumps(payload())}\n".encode()


def command(channel: bytes, body: bytes) -> bytes:
    """PUBLISH, as Redis reads it."""
    words = (b"PUBLISH", channel, body)
    return b"*3\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def recorded(publish: Sequence[str], env: Mapping[str, str], port: int, cwd: Path) -> bytes:
    """What the command `publish` publishes through the Redis at `port`, as a command to say it again."""
    with redis.Redis(port=port) as client, client.pubsub(ignore_subscribe_messages=True) as ears:
        ears.psubscribe("*")
        ears.get_message(timeout=PATIENCE_S)
        subprocess.run(publish, env=dict(env), cwd=cwd, check=True, timeout=PATIENCE_S)
        while heard := ears.get_message(timeout=PATIENCE_S):
            if TOKEN.encode() in heard["data"]:
                return command(heard["channel"], heard["data"])
    raise RuntimeError(f"{publish} published nothing that holds {TOKEN}.")
