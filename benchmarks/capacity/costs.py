"""What each part costs, as calibrated: the input of the simulation and of docs/capacity.md."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Microseconds of CPU time, unless the name says otherwise."""

    # A process of the live server.
    wake_us: float
    """Waking up for Redis' socket; once for all messages that are there."""
    envelope_us: float
    """Decoding one message and finding its followers."""
    frame_us: float
    """Encoding one frame, for all followers that share it."""
    delivery_us: float
    """Writing a frame to one follower, at a low rate, with cold caches."""
    accept_us: float
    upgrade_us: float
    """Reading and answering the handshake."""
    admit_us: float
    """Verifying a ticket, attaching the connection and greeting the client."""
    query_us: float
    """Reading the store for one user without tasks: the fixed cost of a batch."""
    task_query_us: float
    """The same for one task."""
    topic_us: float
    """Each further topic of the batch."""
    row_us: float
    """Each task that is found and sent."""
    idle_us: float
    """Per second, without followers."""
    follower_us: float
    """Per second, for each quiet follower."""
    boot_s: float
    """Wall time from the process's start until it accepts connections."""
    follower_bytes: float

    # Redis.
    redis_message_us: float
    """Receiving one message from a worker's process."""
    redis_delivery_us: float
    """Sending it to one subscribed process."""
    message_bytes: float
    frame_bytes: float

    # The rig's load generator, one core for all followers. Real followers have machines of their own.
    load_join_us: float
    """Connecting, the handshake, sending a ticket and reading the greeting."""
    load_read_us: float
    lag_us: float
    """From the publisher's call to the read of a single follower: the wake-ups of three processes."""

    def to_json(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """From `to_json`; raises `ValueError` if another version stored it."""
        expected = {field.name for field in fields(cls)}
        if stored.keys() != expected:
            names = ", ".join(sorted(stored.keys() ^ expected))
            raise ValueError(f"The calibration differs in {names}: run `python -m benchmarks.capacity --check --keep`.")
        return cls(**stored)
