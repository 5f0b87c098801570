"""The PostgreSQL broker's listeners in one process; each is a queue, and a thread that empties it.

The notification thread fills all queues, so a slow listener delays neither the other listeners nor the server.
Knows payloads, but nothing else of PostgreSQL.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.delivery import Callbacks, ListenerSet
from telltale.brokers.postgres.payloads import Batch, InvalidPayload, Reassembler
from telltale.native import call_after_fork

QUEUE_MESSAGES: Final = 4_096
"""The most messages in one listener's queue: about a megabyte, at some 300 bytes each."""

MISSED_TOPICS: Final = 1_000
"""The most missed topics in one listener's queue; beyond that, any topic counts as missed."""

_MISSED_ANY: Final = Batch(missed_any=True)

logger = logging.getLogger("telltale.brokers")


class PostgresListener:
    """Delivers messages from its thread until closed."""

    def __init__(
        self,
        callbacks: Callbacks,
        remove: "Callable[[PostgresListener], None]",
        is_connected: Callable[[], bool] = lambda: True,
    ) -> None:
        self._is_connected = is_connected
        self.is_starting = True
        """Whether `listen` still waits for the subscription. Its caller reads the store later: nothing is missed."""
        self._callbacks = callbacks
        self._remove = remove
        self._is_closing = False
        self._is_filled = native.Event()
        self._queue_lock, self._delivery_lock = native.lock(), native.lock()
        self._thread: int | None = None
        self._clear()
        call_after_fork(self)
        try:
            native.start_thread(self._run, name="telltale-postgres-listener")
        except RuntimeError as error:
            raise BrokerUnavailable(f"No thread could be started to listen: {error}.") from error

    @property
    def is_connected(self) -> bool:
        """See `MonitoredListener`."""
        return self._is_connected()

    def put(self, batch: Batch) -> None:
        """Queue a batch; a full queue drops its oldest messages."""
        with self._queue_lock:
            self._missed_any |= batch.missed_any or len(self._bodies) + len(batch.bodies) > QUEUE_MESSAGES
            self._bodies.extend(batch.bodies)
            self._missed_topics |= batch.missed_topics
            self._missed_any |= len(self._missed_topics) > MISSED_TOPICS
        self._is_filled.set()

    def close(self) -> None:
        """Stop; messages in the queue are dropped."""
        self._remove(self)
        self._is_closing = True
        self._is_filled.set()
        if self._thread != native.get_ident():
            with self._delivery_lock:
                # A running delivery has ended, and `_is_closing` prevents another.
                return

    def after_fork(self) -> None:
        """Replace the locks, which the parent's thread may have held; the thread runs in the parent only."""
        self._is_closing, self._is_filled = True, native.Event()
        self._queue_lock, self._delivery_lock = native.lock(), native.lock()

    def _run(self) -> None:
        self._thread = native.get_ident()
        while not self._is_closing:
            self._is_filled.wait()
            self._is_filled.clear()
            with self._delivery_lock:
                self._deliver()

    def _deliver(self) -> None:
        with self._queue_lock:
            bodies, missed_topics, missed_any = list(self._bodies), self._missed_topics, self._missed_any
            self._clear()
        if self._is_closing:
            return
        self._callbacks.deliver(bodies)
        if missed_any:
            self._callbacks.report_missed()
        elif missed_topics:
            self._callbacks.report_missed(missed_topics)

    def _clear(self) -> None:
        self._bodies: deque[bytes] = deque(maxlen=QUEUE_MESSAGES)
        self._missed_topics: set[str] = set()
        self._missed_any = False


class Listeners(ListenerSet[PostgresListener]):
    """All listeners of a process; the notification thread fills their queues."""

    def __init__(self) -> None:
        super().__init__()
        self._reassembler = Reassembler()

    def put_payloads(self, payloads: Sequence[bytes]) -> None:
        """Queue the content of these payloads for every listener."""
        for payload in payloads:
            try:
                batch = self._reassembler.add(payload)
            except InvalidPayload as error:
                logger.debug("A notification could not be read: %s", error)
                batch = _MISSED_ANY
            if batch is not None:
                for listener in self._listeners:
                    listener.put(batch)

    def put_missed(self) -> None:
        """Report missed messages of any topic to every listener, except those that are still starting."""
        for listener in self._listeners:
            if not listener.is_starting:
                listener.put(_MISSED_ANY)

    def discard_partial_batch(self) -> None:
        """Drop an incomplete batch: the connection is gone, and its other payloads won't arrive."""
        self._reassembler = Reassembler()
