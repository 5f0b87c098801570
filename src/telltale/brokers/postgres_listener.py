"""One listener of the PostgreSQL broker: a queue, and the thread that empties it.

The courier's thread fills the queues of all listeners of its process, so that a caller who takes his time keeps
neither the others nor the server waiting. Knows nothing of PostgreSQL.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.listening import Hearer, tell_after_fork
from telltale.brokers.postgres_payloads import Arrived

QUEUE_MESSAGES: Final = 4_096
"""How many messages wait for one listener; at some 300 bytes each about a megabyte."""

TOPICS: Final = 1_000
"""So many topics are remembered as missed; of more, any."""


class PostgresListener:
    """Hears from its thread until closed."""

    def __init__(self, hearer: Hearer, remove: "Callable[[PostgresListener], None]") -> None:
        self.is_awaited = True
        """Whoever asked for it is waiting until it hears, and reads the store after that: it misses nothing yet."""
        self._hearer = hearer
        self._remove = remove
        self._closing = False
        self._some = native.Signal()
        self._lock, self._calling = native.lock(), native.lock()
        self._thread: int | None = None
        self._clear()
        tell_after_fork(self)
        try:
            native.start(self._run, name="telltale-postgres-listener")
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
        if self._thread != native.ident():
            with self._calling:
                # Whoever calls is done with it, and looks for this before he calls again.
                return

    def forked(self) -> None:
        """The thread stayed with the parent, with whatever locks it held."""
        self._closing, self._some = True, native.Signal()
        self._lock, self._calling = native.lock(), native.lock()

    def _run(self) -> None:
        self._thread = native.ident()
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
