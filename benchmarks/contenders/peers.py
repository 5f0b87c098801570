"""The peers: libraries that sites use, and a bare ASGI app. Each runs under uvicorn with one worker, uvloop,
httptools and no access log."""

import json
from collections.abc import Iterable
from typing import ClassVar, Final

from benchmarks.rig import message
from benchmarks.rig.contender import PEERS_PYTHON, Contender, Handshake, Workspace

FAST: Final = ["--loop", "uvloop", "--http", "httptools", "--backlog", "4096"]
QUIET: Final = ["--no-access-log", "--log-level", "warning"]


def uvicorn(python: str, app: str, port: int, *options: str) -> list[str]:
    """The command of a uvicorn that serves `app`."""
    return [python, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port), *FAST, *QUIET, *options]


class BareAsgiWebSocket(Contender):
    """A bare ASGI app that awaits each follower's `send` in turn: see peer_apps/bare_asgi.py."""

    name = "bare ASGI app, WebSocket"

    def command(self, workspace: Workspace) -> list[str]:
        """With uvicorn's default WebSocket implementation."""
        return uvicorn(PEERS_PYTHON, "benchmarks.contenders.peer_apps.bare_asgi:app", workspace.port)


class BareAsgiEventStream(BareAsgiWebSocket):
    """The same app over server-sent events."""

    name = "bare ASGI app, SSE"
    transport = "sse"


class RedisPeer(Contender):
    """A peer that receives messages through Redis. Its module serves as `app`, and publishes when run as a program."""

    uses_redis: ClassVar[bool] = True
    module: ClassVar[str]

    def __init__(self) -> None:
        self.publish = [PEERS_PYTHON, "-m", self.module, message.TOPIC, json.dumps(message.payload())]

    def command(self, workspace: Workspace) -> list[str]:
        """One worker."""
        return uvicorn(PEERS_PYTHON, f"{self.module}:app", workspace.port)


class Channels(RedisPeer):
    """Django Channels with the channel layer that uses Redis' publish and subscribe."""

    name = "Channels, Redis pub/sub"
    module = "benchmarks.contenders.peer_apps.channels_app"


class SocketIO(RedisPeer):
    """python-socketio with its Redis manager."""

    name = "python-socketio, Redis"
    module = "benchmarks.contenders.peer_apps.socketio_app"

    def handshakes(self, workspace: Workspace, followers: int, topics: int) -> Iterable[Handshake]:
        """The first message `40` requests the default namespace, as every Socket.IO client does."""
        for number in range(topics):
            room = message.topic(number)
            yield Handshake(f"/socket.io/?EIO=4&transport=websocket&room={room}", first_message="40")


class EventStream(RedisPeer):
    """django-eventstream with its Redis listener."""

    name = "django-eventstream, Redis"
    transport = "sse"
    module = "benchmarks.contenders.peer_apps.eventstream_app"
