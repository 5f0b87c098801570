"""What is measured against from below: the C floor, and the bare subscriber."""

import json
from typing import ClassVar

from benchmarks.rig import message
from benchmarks.rig.build import built
from benchmarks.rig.contender import PEERS_PYTHON, Contender, Place


class FloorWebSocket(Contender):
    """A C loop that frames once and writes the same bytes to all."""

    name = "C floor, WebSocket"

    def command(self, place: Place) -> list[str]:
        """See native/floor.c."""
        return [str(built("floor")), str(place.port), str(place.control)]


class FloorEventStream(FloorWebSocket):
    """The same, as server-sent events."""

    name = "C floor, SSE"
    transport = "sse"


class BareSubscriber(Contender):
    """One subscription, frames by a protocol of its own, nothing else: see peers/subscriber.py."""

    name = "bare subscriber"
    is_fed_by_redis: ClassVar[bool] = True

    def command(self, place: Place) -> list[str]:
        """On uvloop."""
        return [PEERS_PYTHON, "-m", "benchmarks.peers.subscriber", str(place.port), str(place.redis_port)]

    def sample(self, place: Place) -> bytes:
        """All topics share one channel."""
        return message.command(b"bench", f"{message.TOPIC} {json.dumps(message.payload())}".encode())
