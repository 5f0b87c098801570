"""The listeners of the PostgreSQL broker in one process: each is a queue, and a thread that empties it.

The courier's thread fills all queues, so that a caller who takes his time keeps neither the others nor the
server waiting. Knows payloads, and nothing else of PostgreSQL.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.delivery import Callbacks
from telltale.brokers.postgres.payloads import Arrived, Joiner, Unreadable
from telltale.native import call_after_fork

QUEUE_MESSAGES: Final = 4_096
"""How many messages wait for one listener; at some 300 bytes each about a megabyte."""

TOPICS: Final = 1_000
"""So many topics are remembered as missed; of more, any."""

MISSED: Final = Arrived(everything=True)

logger = logging.getLogger("telltale.brokers")


class PostgresListener:
    """Hears from its thread until closed."""

    def __init__(self, hearer: Callbacks, remove: "Callable[[PostgresListener], None]") -> None:
        self.is_awaited = True
        """Whoever asked for it is waiting until it hears, and reads the store after that: it misses nothing yet."""
        self._hearer = hearer
        self._remove = remove
        self._closing = False
        self._some = native.Event()
        self._lock, self._calling = native.lock(), native.lock()
        self._thread: int | None = None
        self._clear()
        call_after_fork(self)
        try:
            native.start_thread(self._run, name="telltale-postgres-listener")
        except RuntimeError as error:
            raise BrokerUnavailable(f"No thread could be started to listen: {error}.") from error

    def take(self, arrived: Arrived) -> None:
        """Queue what arrived; the oldest messages make room."""
        with self._lock:
            self._missed_any |= arrived.everything or len(self._messages) + len(arrived.bodies) > QUEUE_MESSAGES
            self._messages.extend(arrived.bodies)
            self._missed |= arrived.topics
            self._missed_any |= len(self._missed) > TOPICS
        self._some.set()

    def close(self) -> None:
        """Stop; what is still queued is dropped."""
        self._remove(self)
        self._closing = True
        self._some.set()
        if self._thread != native.get_ident():
            with self._calling:
                # Whoever calls is done with it, and looks for this before he calls again.
                return

    def after_fork(self) -> None:
        """The thread stayed with the parent, with whatever locks it held."""
        self._closing, self._some = True, native.Event()
        self._lock, self._calling = native.lock(), native.lock()

    def _run(self) -> None:
        self._thread = native.get_ident()
        while not self._closing:
            self._some.wait()
            self._some.clear()
            with self._calling:
                self._hand_over()

    def _hand_over(self) -> None:
        with self._lock:
            messages, topics, any_missed = list(self._messages), self._missed, self._missed_any
            self._clear()
        if self._closing:
            return
        self._hearer.hears(messages)
        if any_missed:
            self._hearer.misses()
        elif topics:
            self._hearer.misses(topics)

    def _clear(self) -> None:
        self._messages: deque[bytes] = deque(maxlen=QUEUE_MESSAGES)
        self._missed: set[str] = set()
        self._missed_any = False


class Audience:
    """All listeners of a process. Any thread may add and remove; the courier's tells them what it hears."""

    def __init__(self) -> None:
        self._lock = native.lock()
        self._listeners: tuple[PostgresListener, ...] = ()
        self._joiner = Joiner()

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def add(self, listener: PostgresListener) -> None:
        """Tell it from now on."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def remove(self, listener: PostgresListener) -> None:
        """Tell it no more; harmless when repeated."""
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

    def close(self) -> None:
        """Close them all."""
        for listener in self._listeners:
            listener.close()

    def hears(self, payloads: Sequence[bytes]) -> None:
        """Queue what these payloads say, for all of them."""
        for payload in payloads:
            try:
                arrived = self._joiner.add(payload)
            except Unreadable as error:
                logger.debug("Among PostgreSQL's notifications was something else: %s", error)
                arrived = MISSED
            if arrived is not None:
                for listener in self._listeners:
                    listener.take(arrived)

    def misses(self) -> None:
        """Something may have gone by, unheard by all of them but those that are still awaited."""
        for listener in self._listeners:
            if not listener.is_awaited:
                listener.take(MISSED)

    def is_cut_off(self) -> None:
        """What it has heard half will not be completed."""
        self._joiner = Joiner()

    def after_fork(self) -> None:
        """In a child: all of them are the parent's."""
        self._lock, self._listeners = native.lock(), ()
