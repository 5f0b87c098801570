"""The contract of brokers: couriers that are quicker than the database, and never more than couriers.

A broker may lose, repeat and reorder. It promises no delivery; the store is the truth, and every web
process re-reads what it watches at the pace that follows from the broker's reach. To write one, satisfy
`Broker` and pass `telltale.testing.brokers.BrokerContract`.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol


class Reach(Enum):
    """How far a broker carries; decides how often web processes re-read what they watch."""

    NOWHERE = "nowhere"
    PROCESS = "this process"
    MACHINE = "this machine"
    SITE = "the whole site"


class BrokerUnavailable(Exception):
    """What was to be carried could not be handed over. The reporter logs an outage once and goes on."""


class Listener(Protocol):
    """A running subscription."""

    def close(self) -> None:
        """Stop; blocks until no call of `deliver` is under way. Harmless when repeated."""


class Broker(Protocol):
    """One a process. All methods may be called from any thread, also after a fork.

    Not promised: delivery, order, that a message comes once.
    """

    reach: Reach

    def publish(self, messages: Sequence[bytes]) -> None:
        """Hand over whole envelopes (each at most 16 KiB), to every listener within reach.

        Never blocks for longer than a few milliseconds; a slow or dead listener is skipped, and costs
        the others nothing. Raises `BrokerUnavailable` if the courier itself is out of order.
        """

    def listen(self, deliver: Callable[[Sequence[bytes]], None], missed: Callable[[], None]) -> Listener:
        """Call `deliver` with what arrives, from a thread of the broker's own, until closed.

        `missed` is called whenever something may have been lost (overflow, reconnect): the caller
        re-reads. Exceptions of both are logged and survive. Raises `BrokerUnavailable` if it can't begin.
        """

    def close(self) -> None:
        """Let go of everything; harmless when repeated."""
