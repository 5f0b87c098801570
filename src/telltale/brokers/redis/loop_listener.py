"""A Redis listener that runs its subscription on an event loop: no thread, and no hand-over between threads.

Connecting may block, so a short-lived thread does that, and the loop leaves the subscription alone meanwhile.
Made by the broker, for web processes.
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
from telltale.brokers.redis.connection import RedisConnection
from telltale.brokers.redis.listener import RedisListener
from telltale.brokers.redis.topology import Topology
from telltale.native import call_after_fork

READ_PAUSE_S: Final = 0.004
"""While messages arrive more often than this, the loop reads them together, after a pause of this length: waking
costs more than a message does, and clients are sent at most ten changes of a task a second."""

logger = logging.getLogger("telltale.brokers")


class RedisLoopListener(RedisListener):
    """Delivers messages on the loop until closed. All methods but `follow`, `forget` and `close` run on the loop."""

    close_timeout_s = 5.0

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        topology: Topology,
        callbacks: Callbacks,
        remove: Callable[[RedisListener], None],
    ) -> None:
        """Connect, in the caller's thread; raises `BrokerUnavailable`."""
        super().__init__(topology, callbacks, remove)
        self._loop = loop
        self._is_connecting = False
        self._watched: dict[RedisConnection, int] = {}
        """Connection → the duplicate of its descriptor that the loop watches."""
        self._read_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._connect_first()
        call_after_fork(self)
        self._wake()

    def after_fork(self) -> None:
        """In a child: close the copies of all sockets, or Redis would go on sending when the parent has gone."""
        super().after_fork()
        for descriptor in self._watched.values():
            # Not `remove_reader`: the parent's loop shares its kernel object (epoll) with the copy.
            os.close(descriptor)
        self._watched = {}

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._step)
        except RuntimeError:
            # The loop has ended, and won't call anything any more.
            if self._is_closing:
                self._subscription.close()
                self._ended.set()

    def _release(self) -> None:
        self._watch(())
        if self._timer is not None:
            self._timer.cancel()
        self._subscription.close()
        self._ended.set()

    # On the loop --------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        """Read at once; while much arrives, after a pause, together with what arrives meanwhile."""
        now = self._loop.time()
        is_busy = now - self._read_at < 2 * READ_PAUSE_S
        self._read_at = now
        if is_busy:
            self._watch(())
            self._call_within(READ_PAUSE_S)
        else:
            self._step()

    def _step(self) -> None:
        """Read, send changes, and connect if necessary."""
        self._thread = native.get_ident()
        if self._is_connecting:
            return
        if not self._is_closing:
            self._run_step(self._receive_and_send)
        if self._is_closing:
            return self._release()
        # Also this may fail: a process may have no descriptor left.
        self._run_step(lambda: self._watch(self._subscription.connections()))
        if self._should_connect():
            return self._connect()
        self._call_within(self._due_s())

    def _receive_and_send(self) -> None:
        self._receive()
        self._subscription.send()
        self._end_outage()

    def _watch(self, connections: Collection[RedisConnection]) -> None:
        """Call `_on_readable` for these connections, and for no others."""
        for connection in self._watched.keys() - set(connections):
            descriptor = self._watched.pop(connection)
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
        for connection in connections:
            if connection not in self._watched:
                # A duplicate: the original may be closed, and its number used again, before the loop stops watching it.
                self._watched[connection] = os.dup(connection.fileno())
                self._loop.add_reader(self._watched[connection], self._on_readable)

    def _call_within(self, due_s: float) -> None:
        """Call `_step` after `due_s`, or earlier."""
        due_at = self._loop.time() + due_s
        if self._timer is not None and self._timer.when() <= due_at:
            return  # The present timer is early enough; a new timer for each message would cost more.
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due_at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._step()

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
            self._retry.succeeded(time.monotonic())
        else:
            self._failed(failure)
        self._step()
