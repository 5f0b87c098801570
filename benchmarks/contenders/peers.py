"""The peers that people use, each under uvicorn with uvloop and httptools, one worker, access log off."""

import json
from collections.abc import Iterable
from typing import ClassVar

from benchmarks.rig import message
from benchmarks.rig.contender import PEERS_PYTHON, Ask, Contender, Place

QUIET = ["--no-access-log", "--log-level", "warning", "--backlog", "4096"]


def uvicorn(python: str, app: str, port: int, *options: str) -> list[str]:
    """The command of a uvicorn that serves `app`."""
    fast = ["--loop", "uvloop", "--http", "httptools"]
    return [python, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port), *fast, *QUIET, *options]


class DirectWebSocket(Contender):
    """A bare ASGI app that awaits each follower's send: see peers/direct.py."""

    name = "uvicorn direct, WebSocket"

    def command(self, place: Place) -> list[str]:
        """With the sockets that uvicorn has by default."""
        return uvicorn(PEERS_PYTHON, "benchmarks.peers.direct:app", place.port)


class DirectEventStream(DirectWebSocket):
    """The same app, as server-sent events."""

    name = "uvicorn direct, SSE"
    transport = "sse"


class Published(Contender):
    """One that is fed through Redis, by what its app publishes when it is run as a program."""

    is_fed_by_redis: ClassVar[bool] = True
    app: ClassVar[str]

    def __init__(self) -> None:
        self.publish = [PEERS_PYTHON, "-m", self.app, message.TOPIC, json.dumps(message.payload())]

    def command(self, place: Place) -> list[str]:
        """One worker."""
        return uvicorn(PEERS_PYTHON, f"{self.app}:app", place.port)


class Channels(Published):
    """Django Channels with the Redis layer that publishes and subscribes."""

    name = "Channels, Redis pub/sub"
    app = "benchmarks.peers.channels_app"


class SocketIO(Published):
    """python-socketio with its Redis manager."""

    name = "python-socketio, Redis"
    app = "benchmarks.peers.socketio_app"

    def asks(self, place: Place, followers: int, topics: int) -> Iterable[Ask]:
        """`40` is how its clients ask for the default namespace."""
        for number in range(topics):
            room = message.topic(number)
            yield Ask(f"/socket.io/?EIO=4&transport=websocket&room={room}", message="40")


class EventStream(Published):
    """django-eventstream with its Redis listener."""

    name = "django-eventstream, Redis"
    transport = "sse"
    app = "benchmarks.peers.eventstream_app"
