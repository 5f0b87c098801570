"""What each part costs, as calibrated: one value that the simulation is given and docs/capacity.md is made from."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Microseconds of CPU, unless the name says otherwise."""

    # Of a process of the live server.
    wake_us: float
    """To be woken by Redis' socket: once for all messages that have come meanwhile."""
    envelope_us: float
    """To decode one message, and see whom it concerns."""
    frame_us: float
    """To make one frame, for all who share it."""
    delivery_us: float
    """To hand a frame to one follower, at a pace at which caches are cold."""
    accept_us: float
    upgrade_us: float
    """To read the handshake and answer it."""
    admit_us: float
    """To verify a ticket, attach, and greet."""
    query_us: float
    """To ask the database about one person of whom it knows nothing: a batch costs that once."""
    task_query_us: float
    """The same for one task."""
    topic_us: float
    """More, for each topic of the batch."""
    row_us: float
    """More, for each task that is found and handed on."""
    idle_us: float
    """Each second, with nobody there."""
    follower_us: float
    """Each second, for each quiet follower."""
    boot_s: float
    """From its start until it accepts, in wall time."""
    follower_bytes: float

    # Of Redis.
    redis_message_us: float
    """To take one message from a worker's process."""
    redis_delivery_us: float
    """To hand it to one process that follows."""
    message_bytes: float
    frame_bytes: float

    # Of the rig's followers, all on one core. Followers elsewhere cost us nothing.
    load_join_us: float
    """To connect, to ask, to show a ticket, and to read the greeting."""
    load_read_us: float
    lag_us: float
    """From the publisher's call to the only follower's read: wake-ups of three processes."""

    def to_json(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Self:
        """From `to_json`; raises `ValueError` for one that was kept by another version."""
        wanted = {field.name for field in fields(cls)}
        if kept.keys() != wanted:
            odd = ", ".join(sorted(kept.keys() ^ wanted))
            raise ValueError(f"The calibration differs in {odd}: run `python -m benchmarks.capacity --check --keep`.")
        return cls(**kept)
