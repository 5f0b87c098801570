"""Publishes the stand-in's messages to Telltale's broker from one thread, because publishing may block."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Final

from telltale.brokers import broker
from telltale.brokers.base import BrokerUnavailable, Message
from telltale.brokers.delivery import LossCounter
from telltale.core.outage import Outage
from telltale.pusher.server.link.threads import started_thread

QUEUE_BYTES: Final = 16_777_216
"""Bodies that may wait, together; beyond that the oldest are dropped."""

BATCH: Final = 100
"""Messages of one call of the broker."""

RETRY_EVERY_S: Final = 0.25

RETRY_FOR_S: Final = 2.0
"""How long sending is tried again when an outage begins; while it lasts, messages are dropped at once."""

logger = logging.getLogger(__name__)


class SiteSender:
    """A queue and the thread that empties it, in order. `send` never blocks."""

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread: threading.Thread | None = None
        self._losses = LossCounter("%d messages to other server processes were dropped: the broker is too slow.")
        self._outage = Outage(
            logger, "Sending to other server processes", "Clients get only what is published in their own process."
        )

    def send(self, messages: Iterable[Message]) -> None:
        """Queue these messages; the oldest are dropped if too much waits."""
        dropped = 0
        with self._changed:
            for message in messages:
                self._queue.append(message)
                self._bytes += len(message.body)
            while self._bytes > QUEUE_BYTES:
                self._bytes -= len(self._queue.popleft().body)
                dropped += 1
            if self._thread is None and not self._is_closing:
                # Without a thread, the messages wait, and the next ones try again.
                self._thread = started_thread(self._run, "telltale-pusher-sender", self._outage)
            self._changed.notify()
        if dropped:
            self._losses.add(dropped, now=time.monotonic())

    def close(self, timeout_s: float) -> None:
        """Send what waits, for at most `timeout_s`, and end the thread. Blocks."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while batch := self._take():
            try:
                self._publish(batch)
            except Exception:
                # A broker may be anyone's code; the thread must go on.
                logger.exception("%d messages to other server processes were not sent.", len(batch))

    def _take(self) -> list[Message]:
        """Wait for messages; [] at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closing)
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            self._bytes -= sum(len(message.body) for message in batch)
            return batch

    def _publish(self, batch: list[Message]) -> None:
        give_up_at = time.monotonic() + RETRY_FOR_S
        while True:
            try:
                broker().publish(batch)
            except BrokerUnavailable as error:
                now = time.monotonic()
                if self._outage.is_ongoing or self._is_closing or now > give_up_at:
                    return self._outage.begin(error, now=now)
                time.sleep(RETRY_EVERY_S)
            else:
                return self._outage.end(now=time.monotonic())
