"""The broker of one process: for tests, and for sites whose views, tasks and live server share a process.

Reach: this process. Cost: a queue and a thread a listener; under a microsecond a message. Limits: a listener
that falls behind by more than `QUEUE_MESSAGES` loses the oldest, and is told so.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import SplitResult

from telltale.brokers.base import BrokerUnavailable, Deliver, Listener, Message, Missed, Reach
from telltale.brokers.delivery import Callbacks, carriable
from telltale.brokers.urls import refuse_parts
from telltale.native import call_after_fork

QUEUE_MESSAGES: Final = 4_096
"""How many messages wait for one listener; at some 300 bytes each about a megabyte."""


class MemoryBroker:
    """Hands messages to the listeners of this very object. Forked children begin with none."""

    reach = Reach.PROCESS

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[MemoryListener, ...] = ()
        call_after_fork(self)

    def publish(self, messages: Sequence[Message]) -> None:
        """Append to every listener's queue; never waits for one."""
        kept = [message.body for message in carriable(messages)]
        for listener in self._listeners:
            listener.put(kept)

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """Begin with what is published from now on."""
        listener = MemoryListener(Callbacks(deliver, missed), self._remove)
        with self._lock:
            self._listeners = (*self._listeners, listener)
        return listener

    def close(self) -> None:
        """Stop all listeners."""
        for listener in self._listeners:
            listener.close()

    def after_fork(self) -> None:
        """The listeners' threads stayed with the parent."""
        self._lock, self._listeners = threading.Lock(), ()

    def _remove(self, listener: "MemoryListener") -> None:
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other is not listener)


class MemoryListener:
    """One queue and the thread that empties it."""

    def __init__(self, hearer: Callbacks, remove: "Callable[[MemoryListener], None]") -> None:
        self._hearer = hearer
        self._remove = remove
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque(maxlen=QUEUE_MESSAGES)
        self._overflowed = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="telltale-memory-listener", daemon=True)
        call_after_fork(self)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise BrokerUnavailable(f"No thread could be started to listen: {error}.") from error

    def put(self, messages: Sequence[bytes]) -> None:
        """Queue `messages`; the oldest make room."""
        with self._changed:
            self._overflowed |= len(self._waiting) + len(messages) > QUEUE_MESSAGES
            self._waiting.extend(messages)
            self._changed.notify()

    def close(self) -> None:
        """Stop; what is still queued is dropped."""
        self._remove(self)
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def after_fork(self) -> None:
        """Another thread may have held the lock when the child was forked."""
        self._changed, self._closing = threading.Condition(), True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._overflowed or self._closing)
                if self._closing:
                    return
                messages, overflowed = list(self._waiting), self._overflowed
                self._waiting.clear()
                self._overflowed = False
            self._hearer.hears(messages)
            if overflowed:
                self._hearer.misses()


def build(url: SplitResult) -> MemoryBroker:
    """For `memory://`."""
    refuse_parts(url, "memory://")
    return MemoryBroker()
