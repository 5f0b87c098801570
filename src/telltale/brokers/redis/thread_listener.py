"""A Redis listener that runs its subscription in a thread of its own. Made by the broker."""

import time
from collections.abc import Callable

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.delivery import Callbacks
from telltale.brokers.redis.listener import RedisListener
from telltale.brokers.redis.topology import Topology
from telltale.native import call_after_fork


class RedisThreadListener(RedisListener):
    """Delivers messages from its thread until closed."""

    def __init__(self, topology: Topology, callbacks: Callbacks, remove: Callable[[RedisListener], None]) -> None:
        """Connect, and start the thread; raises `BrokerUnavailable`."""
        super().__init__(topology, callbacks, remove)
        self._waker = native.SocketWaker()
        self._connect_first()
        try:
            native.start_thread(self._run, name="telltale-redis-listener")
        except RuntimeError as error:
            self._release()
            raise BrokerUnavailable(f"No thread could be started to listen: {error}.") from error
        call_after_fork(self)

    def after_fork(self) -> None:
        """Close the copies of the parent's sockets; its thread runs in the parent only."""
        super().after_fork()
        self._waker.close()

    def _wake(self) -> None:
        self._waker.wake()

    def _release(self) -> None:
        self._subscription.close()
        self._waker.close()

    # In the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        self._thread = native.get_ident()
        try:
            while not self._is_closing:
                self._run_step(self._step)
        finally:
            self._release()
            self._ended.set()

    def _step(self) -> None:
        """Connect if necessary, send changes, wait for messages, and deliver them."""
        subscription = self._subscription
        if self._should_connect():
            subscription.connect()
            self._retry.succeeded(time.monotonic())
        subscription.send()
        descriptors = [self._waker.fileno(), *(connection.fileno() for connection in subscription.connections())]
        native.wait_for_io(descriptors, timeout_s=self._due_s())
        self._waker.clear()
        if self._is_closing:
            return
        self._receive()
        self._end_outage()
