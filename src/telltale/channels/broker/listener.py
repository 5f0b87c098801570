"""The Channels broker's listeners in one process: each has a queue, and filters by topic before messages enter it.

The layer's thread fills all queues, so a slow listener delays neither senders nor other listeners. A queue is
emptied by a thread of its listener, or on an event loop. Knows bundles, but no layer.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from telltale import native
from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.delivery import Callbacks, ListenerSet
from telltale.channels.broker.bundles import MISSED_TOPICS, Bundle
from telltale.native import call_after_fork

QUEUE_MESSAGES: Final = 4_096
"""The most messages in one listener's queue: about a megabyte, at some 300 bytes each."""


class ChannelsListener(ABC):
    """A `SelectiveListener`. The process receives all topics, so following one is a change of a set."""

    def __init__(self, callbacks: Callbacks, remove: "Callable[[ChannelsListener], None]") -> None:
        self.is_starting = True
        """Whether `listen` still waits for the group. Its caller reads the store later: nothing is missed."""
        self.is_failing: Callable[[], bool] = lambda: False
        """Whether the layer fails; set by the layer's thread."""
        self._callbacks = callbacks
        self._remove = remove
        self._followed: set[str] = set()
        self._is_closing = False
        self._thread: int | None = None
        """The thread that delivers."""
        self._queue_lock, self._delivery_lock = native.lock(), native.lock()
        self._clear()
        call_after_fork(self)

    @property
    def is_connected(self) -> bool:
        """See `MonitoredListener`."""
        return not self.is_failing()

    def follow(self, topics: Collection[str]) -> None:
        """See `SelectiveListener`. Within `deliver`, the topics are reported as missed, as by every broker."""
        with self._queue_lock:
            self._followed |= set(topics)
        if native.get_ident() == self._thread:
            self._put([], topics, missed_any=False)

    def forget(self, topics: Collection[str]) -> None:
        """See `SelectiveListener`."""
        with self._queue_lock:
            self._followed -= set(topics)

    def put(self, bundle: Bundle) -> None:
        """Queue the followed messages of `bundle`; a full queue drops its oldest messages."""
        with self._queue_lock:
            bodies = bundle.bodies(self._followed)
            missed = self._followed.intersection(bundle.missed_topics)
        if bodies or missed or bundle.missed_any:
            self._put(bodies, missed, missed_any=bundle.missed_any)

    def put_missed(self) -> None:
        """Report that messages of any topic may be lost."""
        self._put([], (), missed_any=True)

    def close(self) -> None:
        """Stop; messages in the queue are dropped."""
        self._remove(self)
        self._is_closing = True
        self._wake()
        if self._thread != native.get_ident():
            with self._delivery_lock:
                # A running delivery has ended, and `_is_closing` prevents another.
                return

    def after_fork(self) -> None:
        """Replace the locks, which another thread may have held; the listener's thread or loop is the parent's."""
        self._is_closing = True
        self._queue_lock, self._delivery_lock = native.lock(), native.lock()

    @abstractmethod
    def _wake(self) -> None:
        """Have `_deliver` called soon, by the thread or on the loop; called by any thread."""

    def _put(self, bodies: list[bytes], missed_topics: Collection[str], *, missed_any: bool) -> None:
        with self._queue_lock:
            self._missed_any |= missed_any or len(self._bodies) + len(bodies) > QUEUE_MESSAGES
            self._bodies.extend(bodies)
            self._missed_topics.update(missed_topics)
            self._missed_any |= len(self._missed_topics) > MISSED_TOPICS
        self._wake()

    def _deliver(self) -> None:
        with self._delivery_lock:
            self._thread = native.get_ident()
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


class ThreadListener(ChannelsListener):
    """Delivers messages from its thread until closed."""

    def __init__(self, callbacks: Callbacks, remove: Callable[[ChannelsListener], None]) -> None:
        super().__init__(callbacks, remove)
        self._is_filled = native.Event()
        try:
            native.start_thread(self._run, name="telltale-channels-listener")
        except RuntimeError as error:
            raise BrokerUnavailable(f"No thread could be started to listen: {error}.") from error

    def after_fork(self) -> None:
        """See `ChannelsListener`."""
        super().after_fork()
        self._is_filled = native.Event()

    def _wake(self) -> None:
        self._is_filled.set()

    def _run(self) -> None:
        while not self._is_closing:
            self._is_filled.wait()
            self._is_filled.clear()
            self._deliver()


class LoopListener(ChannelsListener):
    """Delivers messages on an event loop until closed; one call for all that wait."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, callbacks: Callbacks, remove: Callable[[ChannelsListener], None]
    ) -> None:
        super().__init__(callbacks, remove)
        self._loop = loop
        self._is_scheduled = False

    def _wake(self) -> None:
        if self._is_scheduled:
            return
        self._is_scheduled = True
        # RuntimeError: the loop has ended, and all its clients with it.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._deliver_scheduled)

    def _deliver_scheduled(self) -> None:
        self._is_scheduled = False
        self._deliver()


class Listeners(ListenerSet[ChannelsListener]):
    """All listeners of a process; the layer's thread fills their queues."""

    def put(self, bundle: Bundle) -> None:
        """Queue the messages of `bundle` for their listeners."""
        for listener in self._listeners:
            listener.put(bundle)

    def put_missed(self) -> None:
        """Report missed messages of any topic to every listener, except those that are still starting."""
        for listener in self._listeners:
            if not listener.is_starting:
                listener.put_missed()
