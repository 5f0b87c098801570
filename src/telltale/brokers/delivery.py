"""What our own brokers share: calls that survive the caller's mistakes, and what is let go of after a fork.

Knows neither queues nor sockets. Brokers of other authors may use it, or not.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from telltale.brokers.base import Deliver, Message, Missed

MESSAGE_BYTES: Final = 16_384
"""Upper bound of one message."""

logger = logging.getLogger("telltale.brokers")


@dataclass(frozen=True, slots=True)
class Callbacks:
    """The two callables of `Broker.listen`. What they raise is logged: a listener outlives its caller's mistakes."""

    deliver: Deliver
    missed: Missed

    def hears(self, messages: Sequence[bytes]) -> None:
        """Hand over what arrived, if anything did."""
        if not messages:
            return
        try:
            self.deliver(messages)
        except Exception:
            logger.exception("A listener failed at %d messages; it goes on with the next.", len(messages))

    def misses(self, topics: Collection[str] | None = None) -> None:
        """Say that something of these topics may have been lost; None: of any."""
        try:
            self.missed(topics)
        except Exception:
            logger.exception("A listener failed at being told that it missed something; it goes on.")


def carriable(messages: Sequence[Message]) -> list[Message]:
    """`messages` without those beyond the bound, which are logged: one that is too big must not take the rest along."""
    kept = [message for message in messages if len(message.body) <= MESSAGE_BYTES]
    if len(kept) < len(messages):
        largest = max(len(message.body) for message in messages)
        logger.error(
            "%d of %d messages were not carried: the largest has %s bytes, at most %s are. "
            "Publish a reference to large data, and let the page fetch it.",
            len(messages) - len(kept),
            len(messages),
            f"{largest:,}",
            f"{MESSAGE_BYTES:,}",
        )
    return kept
