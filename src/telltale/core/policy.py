"""What a connection lives by: the server's policy, the grant of a verified ticket, and the phases that it goes through.

Values only.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPolicy:
    """How a server treats its followers. Times in seconds, sizes in characters of encoded text."""

    admit_s: float = 10.0
    """A follower without a ticket is closed after this, and so is one whose snapshot can't be read."""
    pace_s: float = 0.1
    """Least time between two frames: the first goes at once, what follows waits for the tick."""
    ping_s: float = 15.0
    """Something is sent at least this often, so that proxies and clients see life."""
    silence_s: float = 40.0
    """A follower that acknowledges, and was not heard for this long, is closed. After half of it a ping asks."""
    credit: int | None = 65_536
    """Unacknowledged text beyond which nothing more is sent; None where the transport has no way back. The
    client is asked to acknowledge whenever a quarter of it has come."""
    frame: int = 65_536
    """A frame that has grown beyond this is full; what still waits goes with the next."""
    slow_s: float = 10.0
    """Nothing acknowledged, or nothing written, for this long while that is what more must wait for: closed."""
    queue: int = 200
    """Notices and events that may wait."""
    remembered: int = 1_000
    """Tasks and notices whose newest is remembered, so that nothing is sent twice; tasks that may wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a verified ticket allows."""

    topics: frozenset[str]
    expires_at: float
    follower: str = ""
    """Whom the ticket was signed for: a user or session topic; empty for nobody in particular."""


class Phase(Enum):
    """Where a connection stands."""

    WAITING = "waiting for a ticket"
    ATTACHED = "attached to the hub, waiting for the snapshot"
    LIVE = "live"
    CLOSED = "closed"
