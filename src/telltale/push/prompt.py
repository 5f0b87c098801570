"""Pushes a notice soon after it came, in the process in which it came: a thread waits for a page to show it first.

What this process does not push before it ends is pushed by `manage.py telltale unseen`.
"""

import logging
import math
import time
from typing import Final

from django.db import close_old_connections, connections

from telltale import native, store
from telltale.core.outage import Outage
from telltale.push.delivery import push_due
from telltale.push.options import options

logger = logging.getLogger(__name__)

MOST_TOPICS: Final = 500
"""While notices of this many people wait here, those of others are left to the command."""


class Prompt:
    """One for each process. The thread runs while there is something to wait for."""

    def __init__(self) -> None:
        self._lock = native.lock()
        self._is_running = False
        self._due_at = math.inf
        """When to push next, by the monotonic clock."""
        self._topics: set[str] = set()
        """The topics of people with notices that were neither pushed nor shown yet."""
        self._wake = native.OneShotEvent()
        self._outage = Outage(logger, "Web push", "Notices wait for pages and for `manage.py telltale unseen`.")
        native.call_after_fork(self)

    def after_fork(self) -> None:
        """In a child: the parent's thread does not run here."""
        self._lock, self._is_running, self._due_at, self._topics = native.lock(), False, math.inf, set()

    def schedule(self, topics: set[str]) -> None:
        """Notices came for these topics: after `AFTER_S`, push those that no page has shown. Never raises."""
        used = options()
        if used is None:
            return
        with self._lock:
            self._due_at = min(self._due_at, time.monotonic() + used.after_s)
            self._topics |= topics if len(self._topics) < MOST_TOPICS else set()
            self._wake.set()
            if self._is_running:
                return
            self._is_running = True
        try:
            native.start_thread(self._run, "telltale-push")
        except RuntimeError:
            # The system has no thread to give.
            self._is_running = False

    def _run(self) -> None:
        try:
            while self._wait():
                wait_s = self._push()
                if wait_s is not None:
                    with self._lock:
                        self._due_at = min(self._due_at, time.monotonic() + wait_s)
        finally:
            connections.close_all()
            native.destroy_gevent_hub()

    def _wait(self) -> bool:
        """Wait until something is due. False: there is nothing to wait for, and the thread ends."""
        while True:
            with self._lock:
                wait_s = self._due_at - time.monotonic()
                if wait_s <= 0:
                    self._due_at = math.inf
                    return True
                if wait_s == math.inf:
                    self._is_running = False
                    return False
                wake = self._wake = native.OneShotEvent()
            wake.wait(wait_s)

    def _push(self) -> float | None:
        """Push what is due. Return in how many seconds there is more to do; None if there is nothing more."""
        used = options()
        if used is None:
            return None
        with self._lock:
            topics, self._topics = self._topics, set()
        try:
            # As around a request: a connection that broke, or has reached its age, is replaced.
            close_old_connections()
            push_due(among=topics)
            waiting = store.push_topics(0.0, among=topics)
            again_in_s = store.push_again_in(waiting) if waiting else None
        except Exception as error:
            # Whatever fails, such as the database or a setting: the thread goes on with the next notices.
            self._outage.begin(error, now=time.monotonic())
            return None
        self._outage.end(now=time.monotonic())
        with self._lock:
            self._topics |= set(waiting)
        return max(used.after_s, again_in_s or 0.0) if waiting else None


prompt = Prompt()
