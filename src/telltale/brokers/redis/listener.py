"""The thread that drives one subscription at Redis, and comes back to it after whatever happened to the line.

Knows when to wait and when to try again; `subscription.py` knows the rest. Made by the broker.
"""

import logging
import random
import time
from collections.abc import Callable, Collection
from typing import Final

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.delivery import Callbacks
from telltale.brokers.redis.subscription import Subscription
from telltale.brokers.redis.topology import Places
from telltale.core.outage import Outage
from telltale.native import call_after_fork

FOLLOW_S: Final = 1.0
"""So long at most blocks `follow`."""

RETRY_S: Final = (0.1, 5.0)
"""The pause before the first try to come back, at most, and the longest; doubling. Part of it is chance."""

STEADY_S: Final = 5.0
"""A line that has held for so long is tried for quickly again."""

logger = logging.getLogger("telltale.brokers")


class Patience:
    """When to try again after a line was lost: soon at first, then later and later, and never all at once."""

    def __init__(self) -> None:
        self._failures = 0
        self._connected_at = self._retry_at = float("-inf")

    def succeeded(self, now: float) -> None:
        """A line is there."""
        self._connected_at = now

    def failed(self, now: float) -> None:
        """A line was lost, or could not be had."""
        if now - self._connected_at > STEADY_S:
            self._failures = 0
        first_s, longest_s = RETRY_S
        pause_s: float = min(longest_s, first_s * 2**self._failures) * random.random()  # noqa: S311
        self._failures = min(self._failures + 1, 16)
        self._retry_at = now + pause_s

    def is_over(self, now: float) -> bool:
        """Whether it may be tried again."""
        return now >= self._retry_at

    def due_s(self, subscription: Subscription, now: float) -> float:
        """How long the driver of `subscription` may wait for its lines, in seconds."""
        due_s = subscription.due_s(now)
        return min(due_s, max(0.0, self._retry_at - now)) if subscription.lacks_line else due_s


class RedisListener:
    """Satisfies `Selective`."""

    def __init__(self, places: Places, hearer: Callbacks, remove: "Callable[[RedisListener], None]") -> None:
        """Connects; raises `BrokerUnavailable`."""
        self._remove = remove
        self._bell = native.SocketWaker()
        self._ended = native.OneShotEvent()
        self._thread = 0
        self._is_closing = False
        self._patience = Patience()
        self._outage = Outage(logger, "Hearing Redis", "Pages are told later, from the database.")
        self._subscription = Subscription(places, hearer, self._bell.wake)
        try:
            self._subscription.connect()
            native.start_thread(self._run, name="telltale-redis-listener")
        except BrokerUnavailable:
            self._let_go()
            raise
        except RuntimeError as error:
            self._let_go()
            raise BrokerUnavailable(f"No thread could be started to listen: {error}.") from error
        call_after_fork(self)

    def follow(self, topics: Collection[str]) -> None:
        """See `Selective`. While the line is lost, and from within `deliver`, it does not wait."""
        fence = self._subscription.follow(topics)
        if native.get_ident() == self._thread or not fence.gate.wait(FOLLOW_S):
            self._subscription.give_up(fence)

    def forget(self, topics: Collection[str]) -> None:
        """See `Selective`."""
        self._subscription.forget(topics)

    def close(self) -> None:
        """See `Listener`."""
        self._remove(self)
        self._is_closing = True
        self._bell.wake()
        if native.get_ident() != self._thread:
            self._ended.wait()

    def after_fork(self) -> None:
        """The thread stayed with the parent, and so did the lines."""
        self._is_closing = True
        self._ended = native.OneShotEvent()
        self._ended.set()
        self._subscription.after_fork()
        self._bell.close()

    # In the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        self._thread = native.get_ident()
        try:
            while not self._is_closing:
                self._try_a_turn()
        finally:
            self._let_go()
            self._ended.set()

    def _try_a_turn(self) -> None:
        try:
            self._turn()
        except BrokerUnavailable as error:
            self._outage.begin(error, now=time.monotonic())
            self._patience.failed(time.monotonic())
        except Exception:
            # A mistake of ours must not end the thread: nobody would ever hear anything again.
            logger.exception("Hearing Redis failed; the lines are made anew.")
            self._subscription.drop()
            self._patience.failed(time.monotonic())

    def _turn(self) -> None:
        subscription = self._subscription
        if subscription.lacks_line and self._patience.is_over(time.monotonic()):
            subscription.connect()
            self._patience.succeeded(time.monotonic())
        subscription.speak()
        native.wait_for_io(
            [self._bell.fileno(), *(line.fileno() for line in subscription.lines())],
            timeout_s=self._patience.due_s(subscription, time.monotonic()),
        )
        self._bell.clear()
        if self._is_closing:
            return
        # Before it is read: a caller that takes long over what it is given must not make Redis look dead.
        now = time.monotonic()
        subscription.hear()
        subscription.check(now)
        if not subscription.is_lost:
            self._outage.end(now=now)

    def _let_go(self) -> None:
        self._subscription.close()
        self._bell.close()
