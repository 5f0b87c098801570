"""Sends an app's Django signals (`telltale.pusher.signals`): one thread of the server calls the receivers, in order.

    @receiver(telltale.pusher.signals.channel_joined)
    def remember(app_id, channel, socket_id, user_id, **_):
        Visit.objects.create(channel=channel, user_id=user_id)

A receiver may take its time and use the database; the server's event loop goes on. A receiver's exception is logged,
and the other receivers are called all the same. While a receiver blocks, further signals wait, and the oldest are
dropped when there are too many. A signal without receivers is not queued.

`channel_joined`, `channel_left`, `client_event` and `cache_miss` are sent in the process where they happen. The
others are sent once for the whole site, in the process that leads at that moment.
"""

import logging
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any, Final

from django.db import close_old_connections, connections
from django.dispatch import Signal

from telltale import native
from telltale.brokers.delivery import LossCounter

QUEUE_LENGTH: Final = 10_000

IDLE_S: Final = 30.0
"""The thread ends after so long without signals, and closes its database connections."""

FLUSH_S: Final = 5.0
"""How long `close` waits until queued signals are sent."""

logger = logging.getLogger("telltale.pusher")


class SignalRunner:
    """One for each server. The thread starts with the first signal that has receivers."""

    def __init__(self, *, idle_s: float = IDLE_S) -> None:
        self.dropped = LossCounter(
            "%d signals of Pusher apps were dropped: their receivers are too slow. Have them start a task."
        )
        self._idle_s = idle_s
        self._lock = native.lock()
        self._waiting: deque[tuple[Signal, dict[str, Any]]] = deque()
        self._wake, self._ended = native.OneShotEvent(), native.OneShotEvent()
        self._is_running = self._is_closed = False
        native.call_after_fork(self)

    def send(self, signal: Signal, **arguments: Any) -> None:
        """Call the signal's receivers soon, with the sender None. Never blocks; any thread may call it."""
        if not signal.receivers or not signal.has_listeners(None):
            return
        with self._lock:
            if self._is_closed:
                self.dropped.add(1, now=time.monotonic())
                return
            if len(self._waiting) >= QUEUE_LENGTH:
                self._waiting.popleft()
                self.dropped.add(1, now=time.monotonic())
            self._waiting.append((signal, arguments))
            if not self._is_running:
                self._start()
            self._wake.set()

    def _start(self) -> None:
        ended = native.OneShotEvent()
        # The system may have no thread to give: the signal waits, and the next one tries again.
        with suppress(RuntimeError):
            native.start_thread(partial(self._run, ended), name="telltale-pusher-signals")
            self._is_running, self._ended = True, ended

    def close(self, *, flush_s: float = FLUSH_S) -> None:
        """Send what is queued, for at most `flush_s`, and end the thread. Blocks: call it off the event loop."""
        with self._lock:
            self._is_closed, is_running = True, self._is_running
            self._wake.set()
        if is_running and not self._ended.wait(flush_s):
            with self._lock:
                self.dropped.add(len(self._waiting), now=time.monotonic())
                self._waiting.clear()

    def after_fork(self) -> None:
        """In a child: the parent sends what it has queued."""
        self._lock = native.lock()
        self._waiting.clear()
        self._is_running = False

    def _run(self, ended: native.OneShotEvent) -> None:
        try:
            while (call := self._next()) is not None:
                self._call_receivers(*call)
        finally:
            connections.close_all()
            native.destroy_gevent_hub()
            ended.set()

    def _next(self) -> tuple[Signal, dict[str, Any]] | None:
        """Wait for the next signal; None: the thread ends."""
        idle_at = time.monotonic() + self._idle_s
        while True:
            with self._lock:
                if self._waiting:
                    return self._waiting.popleft()
                wait_s = idle_at - time.monotonic()
                if self._is_closed or wait_s <= 0.0:
                    self._is_running = False
                    return None
                wake = self._wake = native.OneShotEvent()
            wake.wait(wait_s)

    def _call_receivers(self, signal: Signal, arguments: dict[str, Any]) -> None:
        try:
            # As around a request: a connection that broke, or has reached its age, is replaced.
            close_old_connections()
            signal.send_robust(None, **arguments)
        except Exception:
            logger.exception("The receivers of a signal failed; the next signals are sent all the same.")
        with suppress(Exception):  # A driver may raise anything, and the thread goes on.
            close_old_connections()
