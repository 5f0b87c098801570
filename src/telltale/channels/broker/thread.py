"""The one thread, with an event loop of its own, by which a process uses a channel layer.

Layers keep connections for each event loop, and two loops must not receive from one layer, so this thread has its
own layer and keeps its loop. After any error, loop and layer are replaced by new ones: so nothing is left of broken
connections, whatever the kind of layer. While the layer fails, listeners report missed messages every 2 s or so.
"""

import asyncio

# redis-py imports it when it connects, in our thread: a child that is forked meanwhile would have half a module.
import email.parser  # noqa: F401
import logging
import time
from collections.abc import Callable, Sequence
from random import uniform
from typing import Any, Final

from telltale import native
from telltale.brokers.base import BrokerUnavailable, Message
from telltale.channels.broker.group import GroupSlots
from telltale.channels.broker.listener import ChannelsListener, Listeners
from telltale.channels.broker.sender import LayerSender
from telltale.channels.broker.subscription import LayerSubscription
from telltale.core.outage import Outage
from telltale.native import call_after_fork

MAX_RETRY_S: Final = 2.0
"""The longest wait before a failed layer is used again."""

STABLE_S: Final = 5.0
"""After a layer that worked for so long, the next one is used at once."""

CLOSE_TIMEOUT_S: Final = 1.0
"""How long `close` waits until queued messages are sent."""

_POLL_S: Final = 0.002

logger = logging.getLogger("telltale.brokers")

_inherited: "list[LayerThread]" = []
"""In forked children: the parents' threads. Never freed: closing an inherited connection would take it from the
parent's event loop, which shares its kernel object (epoll) with the copy."""


class LayerThread:
    """Sends and receives for one process, until closed. The thread starts with the first use."""

    def __init__(self, make_layer: Callable[[], Any], layer_name: str, site: str) -> None:
        self.listeners = Listeners()
        self.sender = LayerSender()
        self.subscription = LayerSubscription(self.listeners, self.sender.send_beacon)
        self._make_layer, self._site = make_layer, site
        self._lock = native.lock()
        self._is_started = False
        self._closing, self._ended = native.OneShotEvent(), native.OneShotEvent()
        self._failures = 0
        self._outage = Outage(logger, layer_name, "Meanwhile pages are updated from the database.")
        call_after_fork(self)

    @property
    def is_failing(self) -> bool:
        """Whether the layer fails at present."""
        return self._outage.is_ongoing

    # Called by any thread -----------------------------------------------------------------------

    def send(self, messages: Sequence[Message]) -> None:
        """Send `messages` soon; raises `BrokerUnavailable` while sending is known to fail."""
        self._start()
        self.sender.publish(messages)

    def add_listener(self, listener: ChannelsListener, *, timeout_s: float) -> None:
        """Fill the listener's queue; returns once the group is joined, or that fails, or time is up."""
        listener.is_failing = lambda: self.is_failing
        self.listeners.add(listener)
        self._start()
        self.subscription.listeners_changed()
        deadline = time.monotonic() + timeout_s
        while not (self.subscription.is_joined or self.sender.has_failed) and time.monotonic() < deadline:
            native.sleep(_POLL_S)
        listener.is_starting = False

    def remove_listener(self, listener: ChannelsListener) -> None:
        """Stop filling the listener's queue."""
        self.listeners.remove(listener)
        self.subscription.listeners_changed()

    def close(self) -> None:
        """Close all listeners, send queued messages within `CLOSE_TIMEOUT_S`, and disconnect."""
        self.listeners.close()
        self._closing.set()
        self.subscription.close()
        self.sender.close()
        if self._is_started:
            self._ended.wait(CLOSE_TIMEOUT_S)

    def after_fork(self) -> None:
        """In a child: leave everything to the parent."""
        self._lock = native.lock()
        self.listeners.after_fork()
        _inherited.append(self)

    def _start(self) -> None:
        with self._lock:
            if self._is_started:
                return
            try:
                native.start_thread(self._run, name="telltale-channels")
            except RuntimeError as error:
                raise BrokerUnavailable(f"No thread could be started for the channel layer: {error}.") from error
            self._is_started = True

    # In the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._run_once()
        finally:
            self._ended.set()

    def _run_once(self) -> None:
        """Use one layer, on one loop, until closed or until it fails; then wait before the next."""
        started_at = time.monotonic()
        try:
            # Not uvloop, which a site may have made the default: after a fork, it would touch the parent's handles.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._use_layer())
        except Exception as error:
            self._failed(error, time.monotonic() - started_at)

    async def _use_layer(self) -> None:
        layer = self._make_layer()
        slots = GroupSlots(self._site, getattr(layer, "group_expiry", None))
        tasks = [
            asyncio.create_task(self.sender.run(layer, slots)),
            asyncio.create_task(self.subscription.run(layer, slots)),
            asyncio.create_task(self._end_outage()),
        ]
        try:
            await asyncio.wait(tasks[:2], return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _end_outage(self) -> None:
        """Log the end of an outage once messages are sent, and received if there are listeners."""
        while self._outage.is_ongoing:
            await asyncio.sleep(0.1)
            if not self.sender.has_failed and (self.subscription.is_live or not self.listeners):
                self._outage.end(now=time.monotonic())

    def _failed(self, error: Exception, lasted_s: float) -> None:
        """After a good layer, use the next one at once: missed messages are reported when the group is joined."""
        if lasted_s >= STABLE_S:
            self._failures = 0
        self._failures = min(self._failures + 1, 16)
        self._outage.begin(error, now=time.monotonic())
        if self._failures == 1:
            return
        self.listeners.put_missed()
        # Random, so that not all processes connect at the same moment.
        self._closing.wait(min(MAX_RETRY_S, 0.1 * 2**self._failures) * uniform(0.5, 1.0))  # noqa: S311 (no secret)
