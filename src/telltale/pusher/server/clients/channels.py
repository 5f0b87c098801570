"""The subscribers in this process, and the fan-out of messages to them in slices.

A message is formed once for each kind of outlet. Messages of one channel keep their order. A turn of the event loop
writes to about `SLICE` subscribers, and channels that have more to write take turns: neither a channel with ten
thousand subscribers nor a burst of messages stalls others.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from telltale.core.hub import SLICE
from telltale.pusher.server.clients.client import PusherClient

logger = logging.getLogger(__name__)

WAITING_BYTES: Final = 67_108_864
"""What may wait for the fan-out; beyond that messages are dropped: they come faster than they can be written."""

ChannelId = tuple[str, str]
"""The app's id and the channel's name."""

WATCHLISTS: Final = "#watchlists"
"""In place of a channel's name: the queue of messages to the clients that watch for users."""


class LocalChannels:
    """Subscribers by app and channel. Not thread-safe: it belongs to one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._subscribers: dict[str, dict[str, dict[PusherClient, None]]] = {}
        # By channel, and in the order in which channels take turns: the messages that are not written to all yet.
        self._waiting: dict[ChannelId, deque[_Delivery]] = {}
        self._waiting_bytes = 0
        self._left = SLICE
        """Deliveries that this turn of the loop may still make."""
        self._is_turn_scheduled = False
        self._is_dropping = False
        self._has_little_waiting = asyncio.Event()
        self._has_little_waiting.set()
        self.counts: Counter[str] = Counter()
        """Totals: messages, deliveries, dropped."""

    # Subscribers ---------------------------------------------------------------------------------

    def add(self, client: PusherClient, channel: str) -> bool:
        """Add a subscriber; True if it is the channel's first in this process."""
        channels = self._subscribers.setdefault(client.app.id, {})
        subscribers = channels.get(channel)
        if subscribers is None:
            channels[channel] = {client: None}
            return True
        subscribers[client] = None
        return False

    def remove(self, client: PusherClient, channel: str) -> bool:
        """Remove a subscriber; True if it was the channel's last in this process."""
        channels = self._subscribers.get(client.app.id, {})
        subscribers = channels.get(channel)
        if subscribers is None or client not in subscribers:
            return False
        del subscribers[client]
        if subscribers:
            return False
        del channels[channel]
        if not channels:
            del self._subscribers[client.app.id]
        return True

    def subscribers(self, app_id: str, channel: str) -> Collection[PusherClient]:
        """Return the channel's subscribers in this process."""
        return self._subscribers.get(app_id, {}).get(channel, {}).keys()

    def names(self, app_id: str) -> Iterator[str]:
        """Yield the channels that have subscribers in this process."""
        yield from self._subscribers.get(app_id, {})

    # Messages ------------------------------------------------------------------------------------

    def send(self, app_id: str, channel: str, text: str, *, without: PusherClient | None = None) -> None:
        """Write a message to the present subscribers except one: at once if they are few, else in the next turns."""
        subscribers = self._subscribers.get(app_id, {}).get(channel)
        if not subscribers:
            return
        recipients = [client for client in subscribers if client is not without] if without else list(subscribers)
        self.deliver((app_id, channel), text, recipients)

    def deliver(self, queue: ChannelId, text: str, recipients: list[PusherClient]) -> None:
        """Write a message to these clients. Messages of one `queue`, which is a channel as a rule, keep their order."""
        self.counts["messages"] += 1
        delivery = _Delivery(text, recipients)
        if queue not in self._waiting and len(recipients) <= self._left:
            self._write(delivery)
        elif self._has_room(delivery.size):
            self._waiting.setdefault(queue, deque()).append(delivery)
            self._waiting_bytes += delivery.size
            if self.is_busy:
                self._has_little_waiting.clear()
        self._schedule_turn()

    @property
    def is_busy(self) -> bool:
        """Whether so much waits that publishers should wait too."""
        return self._waiting_bytes > WAITING_BYTES // 4

    async def until_not_busy(self) -> None:
        """Wait while `is_busy`: a publisher that is faster than the fan-out is slowed down."""
        await self._has_little_waiting.wait()

    def _has_room(self, size: int) -> bool:
        if self._waiting_bytes + size <= WAITING_BYTES:
            self._is_dropping = False
            return True
        self.counts["dropped"] += 1
        if not self._is_dropping:
            self._is_dropping = True
            logger.error("Messages come faster than they can be written to their subscribers: some are dropped.")
        return False

    def _schedule_turn(self) -> None:
        if not self._is_turn_scheduled:
            self._is_turn_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Write to about `SLICE` subscribers."""
        self._is_turn_scheduled = False
        self._left = SLICE
        while self._waiting and self._left > 0:
            channel_id = next(iter(self._waiting))
            deliveries = self._waiting.pop(channel_id)
            if self._write(deliveries[0]):
                self._waiting_bytes -= deliveries.popleft().size
                if not self.is_busy:
                    self._has_little_waiting.set()
            if deliveries:
                self._waiting[channel_id] = deliveries  # At the end: the other channels come first.
        if self._waiting:
            self._schedule_turn()

    def _write(self, delivery: "_Delivery") -> bool:
        """Write to as many recipients as this turn may; True if these were all."""
        recipients = delivery.recipients
        start = delivery.written
        end = min(len(recipients), start + max(self._left, 1))
        payloads = delivery.payloads
        form = payload = None
        for client in recipients if end - start == len(recipients) else recipients[start:end]:
            if client.form is not form:
                form = client.form
                payload = payloads.get(form)
                if payload is None:
                    payload = payloads[form] = form(delivery.text)
            client.write(payload)
        delivery.written = end
        self._left -= end - start
        self.counts["deliveries"] += end - start
        return end == len(recipients)


class _Delivery:
    """A message on its way to its recipients."""

    __slots__ = ("payloads", "recipients", "size", "text", "written")

    def __init__(self, text: str, recipients: list[PusherClient]) -> None:
        self.text, self.recipients = text, recipients
        self.size = len(text) + 8 * len(recipients)
        """About the memory that it takes while it waits, in bytes."""
        self.payloads: dict[Callable[[str], Any], Any] = {}
        self.written = 0
        """How many recipients have it."""
