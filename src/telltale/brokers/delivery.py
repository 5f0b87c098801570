"""What our own brokers share: safe calls of a listener's callbacks, the set of a process's listeners, the size limit of
messages, a counter of losses. Knows neither queues nor sockets. Brokers of other authors may use it too.
"""

import logging
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from telltale import native
from telltale.brokers.base import Deliver, Listener, Message, Missed

L = TypeVar("L", bound=Listener)

MESSAGE_BYTES: Final = 16_384
"""The largest body that is sent, without its signature."""

SIGNATURE_ROOM: Final = 64
"""How much longer a signed body may be."""

LOG_EVERY_S: Final = 60.0
"""Losses are logged at most so often."""

logger = logging.getLogger("telltale.brokers")


@dataclass(frozen=True, slots=True)
class Callbacks:
    """The two callables of `Broker.listen`. Their exceptions are logged, so that the listener goes on."""

    on_messages: Deliver
    on_missed: Missed

    def deliver(self, bodies: Sequence[bytes]) -> None:
        """Deliver received bodies, unless there are none."""
        if not bodies:
            return
        try:
            self.on_messages(bodies)
        except Exception:
            logger.exception("A listener failed on %d messages; it goes on with the next.", len(bodies))

    def report_missed(self, topics: Collection[str] | None = None) -> None:
        """Report that messages of these topics may be lost; None: of any topic."""
        try:
            self.on_missed(topics)
        except Exception:
            logger.exception("A listener failed when told of missed messages; it goes on.")


def without_oversized(messages: Sequence[Message]) -> list[Message]:
    """`messages` without those larger than `MESSAGE_BYTES`, which are logged: the others must still be sent."""
    kept = [message for message in messages if len(message.body) <= MESSAGE_BYTES + SIGNATURE_ROOM]
    if len(kept) < len(messages):
        largest = max(len(message.body) for message in messages)
        logger.error(
            "%d of %d messages were not published: the largest has %s bytes, and at most %s are allowed. "
            "Publish a reference to large data, and let the page fetch it.",
            len(messages) - len(kept),
            len(messages),
            f"{largest:,}",
            f"{MESSAGE_BYTES:,}",
        )
    return kept


class ListenerSet(Generic[L]):
    """All listeners of a process, where one thread fills the queues of all. `add` and `remove`: any thread."""

    def __init__(self) -> None:
        self._lock = native.lock()
        self._listeners: tuple[L, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def add(self, listener: L) -> None:
        """Fill this listener's queue from now on."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def remove(self, listener: L) -> None:
        """Stop filling this listener's queue; harmless when repeated."""
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

    def close(self) -> None:
        """Close all listeners."""
        for listener in self._listeners:
            listener.close()

    def after_fork(self) -> None:
        """In a child: drop the parent's listeners."""
        self._lock, self._listeners = native.lock(), ()


class LossCounter:
    """Counts losses, and logs their number at most once in `LOG_EVERY_S`."""

    def __init__(self, text: str) -> None:
        """`text`: a sentence with %d in place of the number."""
        self.total = 0
        self._text, self._logged, self._log_at = text, 0, -math.inf

    def add(self, number: int, *, now: float) -> None:
        """Count `number` more."""
        self.total += number
        if self.total > self._logged and now >= self._log_at:
            logger.warning(self._text, self.total - self._logged)
            self._logged, self._log_at = self.total, now + LOG_EVERY_S
