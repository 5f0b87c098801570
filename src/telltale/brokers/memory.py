"""The broker within one process: for tests, and for sites whose views, tasks and live server share a process.

Reach: this process. Cost: a queue and a thread for each listener; under a microsecond a message. Limits: a
listener that falls behind by more than `QUEUE_MESSAGES` loses the oldest messages, and `missed` is called.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import SplitResult

from telltale.brokers.base import BrokerUnavailable, Deliver, Listener, Message, Missed, Reach
from telltale.brokers.delivery import Callbacks, without_oversized
from telltale.brokers.urls import require_scheme_only
from telltale.native import call_after_fork

QUEUE_MESSAGES: Final = 4_096
"""The most messages in one listener's queue: about a megabyte, at some 300 bytes each."""


class MemoryBroker:
    """Sends messages to the listeners of this object. A forked child starts without listeners."""

    reach = Reach.PROCESS

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[MemoryListener, ...] = ()
        call_after_fork(self)

    def publish(self, messages: Sequence[Message]) -> None:
        """Append to every listener's queue; never waits for a listener."""
        bodies = [message.body for message in without_oversized(messages)]
        for listener in self._listeners:
            listener.put(bodies)

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """Deliver all messages that are published from now on."""
        listener = MemoryListener(Callbacks(deliver, missed), self._remove)
        with self._lock:
            self._listeners = (*self._listeners, listener)
        return listener

    def close(self) -> None:
        """Close all listeners."""
        for listener in self._listeners:
            listener.close()

    def after_fork(self) -> None:
        """Drop the listeners: their threads run in the parent only."""
        self._lock, self._listeners = threading.Lock(), ()

    def _remove(self, listener: "MemoryListener") -> None:
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other is not listener)


class MemoryListener:
    """A queue, and the thread that empties it."""

    def __init__(self, callbacks: Callbacks, remove: "Callable[[MemoryListener], None]") -> None:
        self._callbacks = callbacks
        self._remove = remove
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque(maxlen=QUEUE_MESSAGES)
        self._has_overflowed = False
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="telltale-memory-listener", daemon=True)
        call_after_fork(self)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise BrokerUnavailable(f"No thread could be started to listen: {error}.") from error

    def put(self, bodies: Sequence[bytes]) -> None:
        """Queue `bodies`; a full queue drops its oldest messages."""
        with self._changed:
            self._has_overflowed |= len(self._queue) + len(bodies) > QUEUE_MESSAGES
            self._queue.extend(bodies)
            self._changed.notify()

    def close(self) -> None:
        """Stop; messages in the queue are dropped."""
        self._remove(self)
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def after_fork(self) -> None:
        """Replace the lock: another thread may have held it during the fork."""
        self._changed, self._is_closing = threading.Condition(), True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._has_overflowed or self._is_closing)
                if self._is_closing:
                    return
                bodies, has_overflowed = list(self._queue), self._has_overflowed
                self._queue.clear()
                self._has_overflowed = False
            self._callbacks.deliver(bodies)
            if has_overflowed:
                self._callbacks.report_missed()


def build(url: SplitResult) -> MemoryBroker:
    """For `memory://`."""
    require_scheme_only(url, "memory://")
    return MemoryBroker()
