"""Webhooks of all apps: hands each event to the threads of the targets that want it. Never blocks its caller.

Sent at least once: a request whose answer was lost is sent again.
"""

import logging
import time
from collections.abc import Sequence
from typing import Final

from telltale import native
from telltale.pusher.pusher_apps import PusherApp, WebhookTarget
from telltale.pusher.server.hooks.counts import HookCounts
from telltale.pusher.server.hooks.events import HookEvent
from telltale.pusher.server.hooks.webhook_request import address_of
from telltale.pusher.server.hooks.webhook_target import TargetThread, Timing

FLUSH_S: Final = 5.0
"""How long `close` waits until queued events are sent."""

logger = logging.getLogger("telltale.pusher")


class WebhookSender:
    """One for each server. Its threads start with the first events."""

    def __init__(self, timing: Timing | None = None) -> None:
        self.counts = HookCounts()
        self._timing = timing or Timing()
        self._lock = native.lock()
        self._threads: dict[tuple[str, str], TargetThread] = {}
        """By app id and URL: the threads that run."""
        self._wrong_urls: set[str] = set()
        self._is_closed = False
        native.call_after_fork(self)

    def send(self, app: PusherApp, events: Sequence[HookEvent]) -> None:
        """Send each event, in order, to the app's targets that want it."""
        for target in app.webhooks:
            wanted = [event for event in events if target.events is None or event.name in target.events]
            if wanted:
                self._queue(app, target, wanted)

    def close(self, *, flush_s: float = FLUSH_S) -> None:
        """Send what is queued, for at most `flush_s`, and end all threads. Blocks: call it off the event loop."""
        end_at = time.monotonic() + flush_s
        with self._lock:
            self._is_closed = True
            threads = list(self._threads.values())
            for thread in threads:
                thread.close(end_at)
        for thread in threads:
            thread.ended.wait(max(0.0, end_at - time.monotonic()))

    def after_fork(self) -> None:
        """In a child: the parent sends what it has queued."""
        self._lock, self._threads = native.lock(), {}

    def _queue(self, app: PusherApp, target: WebhookTarget, events: Sequence[HookEvent]) -> None:
        with self._lock:
            thread = None if self._is_closed else self._thread_of(app, target)
            if thread is None:
                self.counts.add(self.counts.dropped, app.id, len(events))
            else:
                thread.add(app, target, events)

    def _thread_of(self, app: PusherApp, target: WebhookTarget) -> TargetThread | None:
        """Return the target's thread; None: its URL is wrong, which is logged once."""
        place = (app.id, target.url)
        if place not in self._threads:
            try:
                address = address_of(target.url)
            except ValueError as error:
                self._log_wrong_url(target.url, error)
                return None
            self._threads[place] = TargetThread(
                address,
                lock=self._lock,
                counts=self.counts,
                timing=self._timing,
                on_ended=lambda: self._threads.pop(place, None),
            )
        return self._threads[place]

    def _log_wrong_url(self, url: str, error: ValueError) -> None:
        if url not in self._wrong_urls:
            self._wrong_urls.add(url)
            logger.error("%s Its events are dropped.", error)
