"""The thread of one webhook target: makes batches, signs and sends them, and tries again while the target fails.

Each target has its own thread, so a slow target delays no other. The thread starts with the first event, and ends
after a while without events. A batch waits until the one before it is accepted or dropped, so the order is kept.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from random import uniform
from threading import Lock
from typing import Final

from telltale import native
from telltale.brokers.delivery import LossCounter
from telltale.core.outage import Outage
from telltale.pusher.protocol.signatures import sign
from telltale.pusher.pusher_apps import PusherApp, WebhookTarget
from telltale.pusher.server.hooks.counts import HookCounts
from telltale.pusher.server.hooks.events import HookEvent
from telltale.pusher.server.hooks.webhook_queue import Batch, WebhookQueue
from telltale.pusher.server.hooks.webhook_request import Address, WebhookConnection

CLOSING_WAIT_S: Final = 0.2
"""Between two tries while the server stops."""

logger = logging.getLogger("telltale.pusher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How webhooks are sent, in seconds."""

    answer_s: float = 4.0
    """A target that has not answered after this long has failed."""
    retry_s: float = 300.0
    """An event is tried for this long after it was queued, and then dropped."""
    first_wait_s: float = 1.0
    """Between the first two tries; doubled after each failure, and shortened at random by up to a half."""
    max_wait_s: float = 30.0
    idle_s: float = 30.0
    """A thread without events ends after this long."""


class RefusedByTarget(Exception):
    """The target answered with another status than 2xx."""


class TargetThread:
    """Sends one app's events to one target. `lock` is held by callers of `add` and `close`."""

    def __init__(
        self,
        address: Address,
        *,
        lock: Lock,
        counts: HookCounts,
        timing: Timing,
        on_ended: Callable[[], object],
    ) -> None:
        """`on_ended` is called once, with the lock held; nothing may be added afterwards."""
        self.ended = native.OneShotEvent()
        self._address, self._counts, self._timing = address, counts, timing
        self._lock, self._on_ended = lock, on_ended
        self._app: PusherApp
        self._target: WebhookTarget
        self._queue = WebhookQueue()
        self._wake = native.OneShotEvent()
        self._closing = native.OneShotEvent()
        self._is_started = False
        self._end_at = math.inf  # Once closing: when to stop trying.
        # Used by the thread alone.
        self._connection = WebhookConnection(address)
        self._outage = Outage(
            logger, f"The webhook {address.shown}", f"Its events wait, and are tried for {timing.retry_s:g} s."
        )
        self._failures = 0
        shown = address.shown.replace("%", "%%")
        self._losses = LossCounter(  # Used under the lock.
            f"%d events for {shown} were dropped: too many waited, it failed for too long, or this server stopped."
        )

    def add(self, app: PusherApp, target: WebhookTarget, events: Iterable[HookEvent]) -> None:
        """Queue events. The newest `app` and `target` are used for all events that wait."""
        self._app, self._target = app, target
        self._lost(self._queue.add(events, time.monotonic()))
        if not self._is_started:
            # The system may have no thread to give: the events wait, and the next ones try again.
            with suppress(RuntimeError):
                native.start_thread(self._run, name="telltale-pusher-webhooks")
                self._is_started = True
        self._wake.set()

    def close(self, end_at: float) -> None:
        """Send what is queued at once, until `end_at` (monotonic) at the latest, and end."""
        self._end_at = end_at
        self._closing.set()
        self._wake.set()
        if not self._is_started:
            self._lost(len(self._queue))
            self.ended.set()

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                self._deliver(batch)
        finally:
            self._connection.close()
            native.destroy_gevent_hub()
            self.ended.set()

    def _next_batch(self) -> Batch | None:
        """Wait for the next batch; None: the thread ends."""
        idle_at = time.monotonic() + self._timing.idle_s
        while True:
            with self._lock:
                now = time.monotonic()
                self._drop_old(now)
                if self._queue and (self._closing.is_set() or self._queue.ready_at <= now):
                    return self._queue.take()
                if not self._queue and (self._closing.is_set() or idle_at <= now):
                    self._on_ended()
                    return None
                wake = self._wake = native.OneShotEvent()
                wait_s = (self._queue.ready_at if self._queue else idle_at) - now
            wake.wait(wait_s)

    def _drop_old(self, now: float) -> None:
        self._lost(self._queue.drop_older(now - self._timing.retry_s))
        if now >= self._end_at:
            self._lost(self._queue.drop_older(math.inf))

    def _deliver(self, batch: Batch) -> None:
        """Send the batch until it is accepted or its time is over. All tries have the same body and `time_ms`."""
        app_id, body = self._app.id, batch.body(int(time.time() * 1_000))
        while (error := self._error_of(body)) is not None:
            self._failures += 1
            self._outage.begin(error, now=time.monotonic())
            self._pause()
            if time.monotonic() >= min(batch.queued_at + self._timing.retry_s, self._end_at):
                with self._lock:
                    self._lost(len(batch.events))
                return
            self._counts.add(self._counts.retried, app_id)
        self._failures = 0
        self._outage.end(now=time.monotonic())
        self._counts.add(self._counts.sent, app_id, len(batch.events))

    def _error_of(self, body: str) -> Exception | None:
        """Send one request; return the reason if it was not accepted."""
        headers = _headers(self._app, self._target, body)  # Each time: the secret may be a new one.
        timeout_s = min(self._timing.answer_s, self._end_at - time.monotonic())
        try:
            status = self._connection.post(body.encode(), headers, timeout_s=timeout_s)
        except Exception as error:  # Whatever the address or the target does: the thread goes on.
            return error
        return None if 200 <= status < 300 else RefusedByTarget(f"The target answered {status}.")

    def _pause(self) -> None:
        timing = self._timing
        wait_s = min(timing.max_wait_s, timing.first_wait_s * 2.0 ** min(self._failures - 1, 16))
        wait_s *= uniform(0.5, 1.0)  # noqa: S311 (no secret)
        if self._closing.is_set():
            native.sleep(min(wait_s, CLOSING_WAIT_S))
        else:
            self._closing.wait(wait_s)

    def _lost(self, number: int) -> None:
        """Count dropped events. The lock is held."""
        if number:
            self._counts.add(self._counts.dropped, self._app.id, number)
            self._losses.add(number, now=time.monotonic())


def _headers(app: PusherApp, target: WebhookTarget, body: str) -> dict[str, str]:
    """Return the target's own headers and ours, which can't be overridden."""
    ours = {
        "Content-Type": "application/json",
        "User-Agent": "telltale",
        "X-Pusher-Key": app.key,
        "X-Pusher-Signature": sign(app.secret, body),
    }
    reserved = {name.lower() for name in ours}
    return {name: value for name, value in target.headers if name.lower() not in reserved} | ours
