"""The one thread by which a process sends events to a Pusher service. It starts with the first event.

Publishers only fill the queue, `Pending`, so no task waits for the service. While the service can't be reached, the
newest snapshots, and the last notices and events, wait. `close` sends ends, notices and events, for a bounded time.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import uniform
from typing import Final, Protocol

from telltale import native
from telltale.brokers.delivery import LossCounter
from telltale.core.outage import Outage
from telltale.core.wire import Envelope
from telltale.pusher.publisher.allowance import Allowance
from telltale.pusher.publisher.events import PusherEvent
from telltale.pusher.publisher.pending import Pending
from telltale.pusher.publisher.service import EventsRefused

CLOSE_TIMEOUT_S: Final = 5.0
"""How long `close` waits until ends, notices and events are sent."""

MAX_RETRY_S: Final = 15.0
"""The longest wait before a service that failed is used again."""

_LOOK_EVERY_S: Final = 0.1
"""How often the thread looks for urgent events while progress waits for the plan's rate."""

logger = logging.getLogger("telltale.brokers")


class Service(Protocol):
    """The part of `PusherService` that the sender uses."""

    def send(self, events: list[PusherEvent]) -> None:
        """Send events in one request; raises `EventsRefused`, or another exception if the service fails."""

    def close(self) -> None:
        """Close the connections."""


class Sender:
    """Sends for one process, until closed. `make_service` is called in the thread."""

    def __init__(self, make_service: Callable[[], Service], rate_per_s: float) -> None:
        self._make_service = make_service
        self._lock = native.lock()
        self._has_work, self._closing, self._ended = native.Event(), native.OneShotEvent(), native.OneShotEvent()
        self._is_started = False
        # Shared, under the lock.
        self._pending = Pending()
        # Used by the thread only.
        self._service: Service | None = None
        self._allowance = Allowance(rate_per_s, now=time.monotonic())
        self._unsent: deque[list[PusherEvent]] = deque()
        """Batches that were taken and not sent; of at most 10 events together."""
        self._failures = 0
        self._outage = Outage(
            logger, "Sending to the Pusher service", "The newest snapshots, and the last notices and events, wait."
        )
        self._dropped = LossCounter(
            "%d messages were not sent to the Pusher service: too many waited, or the process ended. Pages get the "
            "state of tasks from the database."
        )

    # Called by any thread -----------------------------------------------------------------------

    def add_event(self, event: PusherEvent) -> None:
        """Send a site's own event soon; never blocks, never raises."""
        with self._lock:
            dropped = self._pending.add_event(event)
            self._start()
        self._added(dropped)

    def add_update(self, channel: str, envelope: Envelope) -> None:
        """Send a snapshot or notice soon, progress at the plan's rate; never blocks, never raises."""
        with self._lock:
            dropped = self._pending.add_update(channel, envelope)
            self._start()
        self._added(dropped)

    def close(self) -> None:
        """Send ends, notices and events within `CLOSE_TIMEOUT_S`; then end."""
        self._closing.set()
        self._has_work.set()
        if self._is_started:
            self._ended.wait(CLOSE_TIMEOUT_S)
        elif self._pending.urgent_count:
            self._run()

    def _added(self, dropped: int) -> None:
        if dropped:
            self._dropped.add(dropped, now=time.monotonic())
        self._has_work.set()

    def _start(self) -> None:
        if not self._is_started:
            # While the interpreter ends, no thread can be started; then `close` sends.
            with suppress(RuntimeError):
                native.start_thread(self._run_thread, name="telltale-pusher")
                self._is_started = True

    # In the thread ------------------------------------------------------------------------------

    def _run_thread(self) -> None:
        self._run()
        native.destroy_gevent_hub()

    def _run(self) -> None:
        try:
            while self._step():
                pass
        finally:
            self._count_unsent()
            self._ended.set()
            if self._service is not None:
                self._service.close()

    def _step(self) -> bool:
        """Send a batch, or wait until there may be one; False at the end."""
        is_closing = self._closing.is_set()
        batch = self._unsent.popleft() if self._unsent else self._take()
        if batch:
            self._send(batch)
            return not (is_closing and self._failures)
        if is_closing:
            return False
        self._wait()
        return True

    def _take(self) -> list[PusherEvent]:
        now = time.monotonic()
        with self._lock:
            events = self._pending.take(progress=self._allowance.events(now=now), now=time.time())
        self._allowance.spend(len(events), now=now)
        return events

    def _wait(self) -> None:
        """Wait for work; while only progress waits, for the allowance."""
        self._has_work.clear()
        if len(self._pending) == 0 and not self._closing.is_set():
            self._has_work.wait()
        elif not self._pending.urgent_count:
            self._closing.wait(_LOOK_EVERY_S)

    def _send(self, batch: list[PusherEvent]) -> None:
        try:
            if self._service is None:
                self._service = self._make_service()
            self._service.send(batch)
        except EventsRefused as error:
            self._refused(batch, error)
        except Exception as error:
            # Of many packages, and of the site's network: none may end the thread.
            self._failed(batch, error)
            return
        self._failures = 0
        self._outage.end(now=time.monotonic())

    def _refused(self, batch: list[PusherEvent], error: EventsRefused) -> None:
        """One event may be wrong, and a service takes all or none: send them one by one."""
        if len(batch) > 1:
            self._unsent.extendleft([event] for event in reversed(batch))
            return
        event = batch[0]
        logger.error(
            "The Pusher service refused the event %r on the channel %r, with %s bytes of data, which is dropped: %s",
            event.name,
            event.channel,
            f"{len(event.data.encode()):,}",
            error,
        )

    def _failed(self, batch: list[PusherEvent], error: Exception) -> None:
        self._unsent.appendleft(batch)
        self._failures = min(self._failures + 1, 8)
        self._outage.begin(error, now=time.monotonic())
        # Random, so that not all processes return at the same moment.
        self._closing.wait(min(MAX_RETRY_S, 0.5 * 2**self._failures) * uniform(0.5, 1.0))  # noqa: S311 (no secret)

    def _count_unsent(self) -> None:
        with self._lock:
            left = sum(len(batch) for batch in self._unsent) + self._pending.urgent_count
        if left:
            self._dropped.add(left, now=time.monotonic())
