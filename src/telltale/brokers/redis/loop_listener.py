"""An event loop that drives one subscription at Redis itself: what arrives needs no thread, and no hand-over.

As `listener.py`, with the loop's own waiting in place of a thread's. Connecting may block, so a thread does
that, and the loop leaves the subscription alone meanwhile. Made by the broker, for web processes.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.delivery import Callbacks
from telltale.brokers.redis.line import Line
from telltale.brokers.redis.listener import FOLLOW_S, Patience
from telltale.brokers.redis.subscription import Subscription
from telltale.brokers.redis.topology import Places
from telltale.core.outage import Outage
from telltale.native import call_after_fork

CLOSE_S: Final = 5.0
"""So long at most `close` waits for the loop."""

REST_S: Final = 0.004
"""Where one read follows another within this, the loop rests for as long before the next: a wake-up costs more
than a message does, and nobody is shown more than ten changes of a task a second."""

logger = logging.getLogger("telltale.brokers")


class RedisLoopListener:
    """Satisfies `Selective`. All but `follow`, `forget` and `close` is on the loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        places: Places,
        hearer: Callbacks,
        remove: "Callable[[RedisLoopListener], None]",
    ) -> None:
        """Connects, in the caller's thread; raises `BrokerUnavailable`."""
        self._loop, self._remove = loop, remove
        self._loop_thread = 0
        self._ended = native.OneShotEvent()
        self._is_closing = self._is_connecting = False
        self._patience = Patience()
        self._outage = Outage(logger, "Hearing Redis", "Pages are told later, from the database.")
        self._watched: dict[Line, int] = {}
        self._read_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._subscription = Subscription(places, hearer, self._ring)
        try:
            self._subscription.connect()
        except BrokerUnavailable:
            self._subscription.close()
            raise
        call_after_fork(self)
        self._ring()

    def follow(self, topics: Collection[str]) -> None:
        """See `Selective`. While the line is lost, and on the loop itself, it does not wait."""
        fence = self._subscription.follow(topics)
        if native.get_ident() == self._loop_thread or not fence.gate.wait(FOLLOW_S):
            self._subscription.give_up(fence)

    def forget(self, topics: Collection[str]) -> None:
        """See `Selective`."""
        self._subscription.forget(topics)

    def close(self) -> None:
        """See `Listener`."""
        self._remove(self)
        self._is_closing = True
        try:
            self._loop.call_soon_threadsafe(self._turn)
        except RuntimeError:
            # The loop has ended before us, and nothing of it calls any more.
            return self._subscription.close()
        if native.get_ident() != self._loop_thread:
            self._ended.wait(CLOSE_S)

    def after_fork(self) -> None:
        """The loop stayed with the parent, and so did the lines."""
        self._is_closing = True
        self._subscription.after_fork()

    # On the loop --------------------------------------------------------------------------------

    def _ring(self) -> None:
        # RuntimeError: the loop has ended, and all who would have been told with it.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._turn)

    def _come(self) -> None:
        """Something came: it is read now, or with what comes within a moment, where much does."""
        now = self._loop.time()
        is_busy = now - self._read_at < 2 * REST_S
        self._read_at = now
        if is_busy:
            self._watch(())
            self._come_back(REST_S)
        else:
            self._turn()

    def _turn(self) -> None:
        """Something came, was wished, or is due."""
        self._loop_thread = native.get_ident()
        if self._is_connecting:
            return
        if not self._is_closing:
            self._try_to_hear()
        if self._is_closing:
            return self._let_go()
        self._watch(self._subscription.lines())
        now = time.monotonic()
        if self._subscription.lacks_line and self._patience.is_over(now):
            return self._connect()
        self._come_back(self._patience.due_s(self._subscription, now))

    def _try_to_hear(self) -> None:
        subscription = self._subscription
        # Before it is read: a loop that was held up must not make Redis look dead.
        now = time.monotonic()
        try:
            subscription.hear()
            subscription.check(now)
            subscription.speak()
        except BrokerUnavailable as error:
            self._failed(error)
        except Exception:
            logger.exception("Hearing Redis failed; the lines are made anew.")
            subscription.drop()
            self._patience.failed(now)
        else:
            if not subscription.is_lost:
                self._outage.end(now=now)

    def _failed(self, error: BrokerUnavailable) -> None:
        now = time.monotonic()
        self._outage.begin(error, now=now)
        self._patience.failed(now)

    def _watch(self, lines: Collection[Line]) -> None:
        """Be called when one of these has something, and for no other."""
        for line in self._watched.keys() - set(lines):
            number = self._watched.pop(line)
            self._loop.remove_reader(number)
            os.close(number)
        for line in lines:
            if line not in self._watched:
                # A number of our own: the line's may be closed, and another's, before the loop is told.
                self._watched[line] = os.dup(line.fileno())
                self._loop.add_reader(self._watched[line], self._come)

    def _come_back(self, due_s: float) -> None:
        at = self._loop.time() + due_s
        if self._timer is not None and self._timer.when() <= at:
            return  # It comes early enough, and looks again then: a timer for each message would cost more.
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._timed)

    def _timed(self) -> None:
        self._timer = None
        self._turn()

    def _connect(self) -> None:
        self._is_connecting = True
        self._watch(())
        try:
            native.start_thread(self._connect_in_thread, name="telltale-redis-connect")
        except RuntimeError as error:
            self._connected(BrokerUnavailable(f"No thread could be started to connect: {error}."))

    def _connect_in_thread(self) -> None:
        failure: BrokerUnavailable | None = None
        try:
            self._subscription.connect()
        except BrokerUnavailable as error:
            failure = error
        except Exception as error:
            logger.exception("Connecting to Redis failed.")
            failure = BrokerUnavailable(repr(error))
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._connected, failure)

    def _connected(self, failure: BrokerUnavailable | None) -> None:
        self._is_connecting = False
        if failure is None:
            self._patience.succeeded(time.monotonic())
        else:
            self._failed(failure)
        self._turn()

    def _let_go(self) -> None:
        self._watch(())
        if self._timer is not None:
            self._timer.cancel()
        self._subscription.close()
        self._ended.set()
