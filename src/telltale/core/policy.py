"""Values that a connection is made with: the server's policy, the grant of a verified ticket, and the phases."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPolicy:
    """How a server treats its clients. Times in seconds, sizes in characters of encoded text."""

    admit_s: float = 10.0
    """A client that shows no ticket is closed after this, and so is one whose snapshot can't be read."""
    pace_s: float = 0.1
    """Least time between two frames: the first goes at once, the next waits."""
    ping_s: float = 15.0
    """Something is sent at least this often, so that proxies and clients know that the connection lives."""
    silence_s: float = 40.0
    """A client that can acknowledge, and was not heard for this long, is closed. After half of it a ping asks."""
    credit: int | None = 65_536
    """Unacknowledged text beyond which nothing more is sent; None where the transport has no way back. The
    client is asked to acknowledge after each quarter of it."""
    max_frame: int = 65_536
    """A frame that has grown beyond this is full; the rest goes with the next."""
    slow_s: float = 10.0
    """A client that has no credit or whose socket is full, and acknowledges nothing for this long, is closed."""
    max_queue: int = 200
    """Notices and events that may wait."""
    max_remembered: int = 1_000
    """Tasks and notices that are remembered, so that nothing is sent twice; also the tasks that may wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """The user that a ticket was issued to. The rights are checked again while the ticket is valid."""

    user: str
    """The primary key, as text."""
    is_active: bool
    """Whether the user was active: if not, the rights do not depend on it."""
    auth: str = ""
    """A digest of the session auth hash, which changes with the password; empty if no session but a token named the
    user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a verified ticket allows."""

    topics: frozenset[str]
    expires_at: float
    follower: str = ""
    """The user or session topic that the ticket was signed for; empty if none."""
    issued_at: float = 0.0
    """When the ticket was signed; 0 if it does not say so."""
    bearer: Bearer | None = None
    """None for an anonymous visitor, and if the ticket does not name the user."""
    session: str = ""
    """A digest of the key of the session for which the ticket was signed; empty if there is none on the server."""


class Phase(Enum):
    """The phases of a connection, in order."""

    WAITING = "waiting for a ticket"
    ATTACHED = "attached to the hub, waiting for the snapshot"
    LIVE = "live"
    CLOSED = "closed"
