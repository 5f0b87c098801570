"""What the two Redis listeners share: they own a subscription, and connect again after a connection is lost.

Knows when to connect again; `subscription.py` knows the protocol. A listener runs its subscription in a thread
(`thread_listener.py`) or on an event loop (`loop_listener.py`), and touches it nowhere else.
"""

import logging
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Final

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.delivery import Callbacks
from telltale.brokers.redis.subscription import Subscription
from telltale.brokers.redis.topology import Topology
from telltale.core.outage import Outage

FOLLOW_TIMEOUT_S: Final = 1.0
"""`follow` blocks for at most this long."""

RETRY_S: Final = (0.1, 5.0)
"""The upper limits of the first and of the longest pause before connecting again; doubling in between. The pause
is a random part of the limit."""

STABLE_S: Final = 5.0
"""After a connection that lasted so long, pauses begin with the shortest again."""

logger = logging.getLogger("telltale.brokers")


class RetrySchedule:
    """When to connect again: soon at first, then later and later; random, so that not all processes do so at once."""

    def __init__(self) -> None:
        self._failures = 0
        self._connected_at = float("inf")
        """When the connection was made that is in use; infinity while there is none."""
        self._retry_at = float("-inf")

    def succeeded(self, now: float) -> None:
        """Connecting succeeded."""
        self._connected_at = now

    def failed(self, now: float) -> None:
        """Connecting failed, or a connection was lost."""
        if now - self._connected_at > STABLE_S:
            self._failures = 0
        self._connected_at = float("inf")
        first_s, longest_s = RETRY_S
        pause_s: float = min(longest_s, first_s * 2**self._failures) * random.random()  # noqa: S311
        self._failures = min(self._failures + 1, 16)
        self._retry_at = now + pause_s

    def wait_s(self, now: float) -> float:
        """Seconds until the next attempt is due; 0 if it is due."""
        return max(0.0, self._retry_at - now)


class RedisListener(ABC):
    """A `SelectiveListener`. A subclass runs the subscription, beginning in its `__init__` with `_connect_first`."""

    close_timeout_s = -1.0
    """How long `close` waits for the end; -1: without limit."""

    def __init__(self, topology: Topology, callbacks: Callbacks, remove: "Callable[[RedisListener], None]") -> None:
        self._remove = remove
        self._thread = 0
        """The thread that runs the subscription."""
        self._ended = native.OneShotEvent()
        self._is_closing = False
        self._retry = RetrySchedule()
        self._outage = Outage(logger, "Receiving from Redis", "Meanwhile pages are updated from the database.")
        self._subscription = Subscription(topology, callbacks, self._wake)

    @property
    def is_connected(self) -> bool:
        """See `MonitoredListener`."""
        return not (self._outage.is_ongoing or self._subscription.is_interrupted)

    def follow(self, topics: Collection[str]) -> None:
        """See `SelectiveListener`. Does not wait while a connection is lost, nor in the listener's own thread."""
        barrier = self._subscription.follow(topics)
        if self._is_own_thread() or not barrier.passed.wait(FOLLOW_TIMEOUT_S):
            self._subscription.stop_waiting(barrier)

    def forget(self, topics: Collection[str]) -> None:
        """See `SelectiveListener`."""
        self._subscription.forget(topics)

    def close(self) -> None:
        """See `Listener`."""
        self._remove(self)
        self._is_closing = True
        self._wake()
        if not self._is_own_thread():
            self._ended.wait(self.close_timeout_s)

    def after_fork(self) -> None:
        """Close the copies of the parent's connections; its thread or loop runs in the parent only."""
        self._is_closing = True
        self._ended = native.OneShotEvent()
        self._ended.set()
        self._subscription.after_fork()

    @abstractmethod
    def _wake(self) -> None:
        """Have the thread or the loop send changes, or end; called from any thread."""

    @abstractmethod
    def _release(self) -> None:
        """Close everything."""

    def _connect_first(self) -> None:
        """Connect in the caller's thread; raises `BrokerUnavailable`."""
        try:
            self._subscription.connect()
        except BrokerUnavailable:
            self._release()
            raise

    def _is_own_thread(self) -> bool:
        return native.get_ident() == self._thread

    def _run_step(self, step: Callable[[], None]) -> None:
        """Call `step`; after an error, schedule connecting again."""
        try:
            step()
        except BrokerUnavailable as error:
            self._failed(error)
        except Exception:
            # An error of our own must not end the listener: this process would receive nothing more.
            logger.exception("Receiving from Redis failed; all connections are opened again.")
            self._subscription.drop_connections()
            self._retry.failed(time.monotonic())

    def _failed(self, error: BrokerUnavailable) -> None:
        now = time.monotonic()
        self._outage.begin(error, now=now)
        self._retry.failed(now)

    def _receive(self) -> None:
        # The time before reading: a slow `deliver` must not make Redis look dead.
        now = time.monotonic()
        self._subscription.receive()
        self._subscription.check_alive(now)

    def _end_outage(self) -> None:
        if not self._subscription.is_interrupted:
            self._outage.end(now=time.monotonic())

    def _should_connect(self) -> bool:
        return self._subscription.needs_connect and self._retry.wait_s(time.monotonic()) == 0

    def _due_s(self) -> float:
        """The longest that the listener may wait for its connections, in seconds."""
        now = time.monotonic()
        due_s = self._subscription.due_s(now)
        return min(due_s, self._retry.wait_s(now)) if self._subscription.needs_connect else due_s
