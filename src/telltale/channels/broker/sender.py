"""Sending bundles to the layer's group, on the loop of the layer's thread. Publishers fill the buffer meanwhile."""

import asyncio
import math
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from telltale import native
from telltale.brokers.base import BrokerUnavailable, Message
from telltale.brokers.delivery import LossCounter
from telltale.channels.broker.bundles import Bundle, SendBuffer, pack
from telltale.channels.broker.group import GroupSlots
from telltale.native import call_after_fork

SEND_EVERY_S: Final = 0.05
"""Between two bundles of a process: a channel takes 100 messages, and sending one to Redis takes a millisecond."""

BEACON_AFTER_S: Final = 1.0
"""After the last bundle, a beacon repeats its number: listeners find out that the bundle was lost."""

LAYER_TIMEOUT_S: Final = 3.0
"""How long one call of the layer may take; afterwards all its connections are opened again."""

MESSAGE_TYPE: Final = "telltale.bundle"
"""The type of our messages in the layer. No consumer receives them."""


class LoopWaker:
    """Wakes a coroutine of the layer's thread, from any thread. Loops come and go; the waker stays."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._is_woken = False

    def attach(self) -> None:
        """Use the running loop from now on; the first `wait` returns at once."""
        self._event, self._is_woken = asyncio.Event(), False
        self._loop = asyncio.get_running_loop()
        self._event.set()

    def wake(self) -> None:
        """Wake the coroutine; never blocks, harmless when repeated or without a loop."""
        loop = self._loop
        if self._is_woken or loop is None:
            return
        self._is_woken = True
        # RuntimeError: the loop has ended; the next one looks for work when it begins.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._event.set)

    def after_fork(self) -> None:
        """In a child: never wake the parent's loop, whose socket was inherited."""
        self._loop = None

    async def wait(self, timeout_s: float = math.inf) -> None:
        """Return when woken, or after `timeout_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None if timeout_s == math.inf else max(0.0, timeout_s)):
                await self._event.wait()
        self._event.clear()
        self._is_woken = False


class LayerSender:
    """Sends what this process publishes, over one layer after another."""

    def __init__(self) -> None:
        self.dropped_messages = LossCounter(
            "%d messages were not sent: more was published at a time than one bundle holds. Their topics were sent, "
            "and pages are updated from the database."
        )
        self._lock = native.lock()
        self._waker = LoopWaker()
        # Shared, under the lock.
        self._buffer = SendBuffer()
        self._error: Exception | None = None
        self._is_sending = False
        # Changed by the layer's thread only.
        self._name, self._number = secrets.token_hex(8), 0
        self._beacon_at = math.inf
        self._is_closing = False
        call_after_fork(self._waker)

    # Called by any thread -----------------------------------------------------------------------

    def publish(self, messages: Sequence[Message]) -> None:
        """Send `messages` soon; raises `BrokerUnavailable` while the layer is known to fail."""
        dropped = 0
        with self._lock:
            error = self._error
            if error is not None:
                self._buffer.discard()
            else:
                dropped = sum([self._buffer.add(message) for message in messages])
        if dropped:
            self.dropped_messages.add(dropped, now=time.monotonic())
        if error is not None:
            raise BrokerUnavailable(f"The channel layer fails: {error!r}")
        self._waker.wake()

    def close(self) -> None:
        """Send what the buffer holds, then end."""
        self._is_closing = True
        self._waker.wake()

    @property
    def has_failed(self) -> bool:
        """Whether the layer failed, and no bundle was sent since."""
        return self._error is not None

    # In the layer's thread ----------------------------------------------------------------------

    async def run(self, layer: Any, slots: GroupSlots) -> None:
        """Send bundles until closed; raises what the layer raises, and `TimeoutError` after `LAYER_TIMEOUT_S`."""
        try:
            await self._run(layer, slots)
        except Exception as error:
            self._failed(error)
            raise
        finally:
            self._interrupted()

    async def _run(self, layer: Any, slots: GroupSlots) -> None:
        self._waker.attach()
        while True:
            await self._waker.wait(self._due_s())
            bundle = self._take()
            if bundle is not None:
                await self._send(layer, slots, bundle)
                await asyncio.sleep(0.0 if self._is_closing else SEND_EVERY_S)
            elif self._is_closing:
                return

    def send_beacon(self) -> None:
        """Send a bundle without content now, unless another bundle is due."""
        self._beacon_at = -math.inf
        self._waker.wake()

    def _failed(self, error: Exception) -> None:
        """Drop the buffer, and refuse messages until a bundle is sent."""
        with self._lock:
            self._error = error
            if self._buffer:
                self._buffer.discard()

    def _interrupted(self) -> None:
        """If a bundle was being sent, the next one says that messages may be lost."""
        with self._lock:
            if self._is_sending:
                self._buffer.miss_any()
            self._is_sending = False

    def _due_s(self) -> float:
        if self._error is not None or self._buffer or self._is_closing:
            return 0.0
        return self._beacon_at - time.monotonic()

    def _take(self) -> Bundle | None:
        """The next bundle: the buffer's content, or a beacon if one is due."""
        with self._lock:
            if self._buffer:
                self._number += 1
                self._is_sending = True
                return self._buffer.take(sender=self._name, number=self._number)
        # A beacon after a failure: it finds out whether the layer works again.
        if self._error is not None or time.monotonic() >= self._beacon_at:
            return Bundle(sender=self._name, number=self._number)
        return None

    async def _send(self, layer: Any, slots: GroupSlots, bundle: Bundle) -> None:
        message = {"type": MESSAGE_TYPE, "data": pack(bundle)}
        async with asyncio.timeout(LAYER_TIMEOUT_S):
            await layer.group_send(slots.to_send_to(time.time()), message)
        with self._lock:
            self._is_sending, self._error = False, None
        has_content = bundle.messages or bundle.missed_topics or bundle.missed_any
        self._beacon_at = time.monotonic() + BEACON_AFTER_S if has_content else math.inf
