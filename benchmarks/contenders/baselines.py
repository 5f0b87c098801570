"""Lower bounds: a server in C that does nothing but broadcast, and a minimal Redis subscriber in Python."""

import json
from typing import ClassVar

from benchmarks.rig import message
from benchmarks.rig.build import built
from benchmarks.rig.contender import PEERS_PYTHON, Contender, Workspace


class BaselineWebSocket(Contender):
    """A C program that encodes each frame once and writes the same bytes to every follower."""

    name = "C baseline, WebSocket"

    def command(self, workspace: Workspace) -> list[str]:
        """See native/baseline.c."""
        return [str(built("baseline")), str(workspace.port), str(workspace.control)]


class BaselineEventStream(BaselineWebSocket):
    """The C baseline over server-sent events."""

    name = "C baseline, SSE"
    transport = "sse"


class BareSubscriber(Contender):
    """One Redis subscription and a hand-written WebSocket protocol: see peer_apps/bare_subscriber.py."""

    name = "bare subscriber"
    uses_redis: ClassVar[bool] = True

    def command(self, workspace: Workspace) -> list[str]:
        """One process, on uvloop."""
        module = "benchmarks.contenders.peer_apps.bare_subscriber"
        return [PEERS_PYTHON, "-m", module, str(workspace.port), str(workspace.redis_port)]

    def sample(self, workspace: Workspace) -> bytes:
        """All topics share one channel."""
        return message.publish_command(b"bench", f"{message.TOPIC} {json.dumps(message.payload())}".encode())
