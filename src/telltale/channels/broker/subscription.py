"""Receiving bundles from the layer's group, on the loop of the layer's thread, as long as there are listeners.

A layer tells no receiver that a message was dropped, that Redis has forgotten the group, or that a subscription is
dead. Two checks find out: numbers that are missing (see `SenderNumbers`), and silence. A listening process that
hears nothing for a while sends a beacon to the group, which all listening processes receive; if it does not receive
any bundle then, everything is opened again.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from random import uniform
from typing import Any, Final

from telltale.brokers.delivery import LossCounter
from telltale.channels.broker.bundles import Bundle, InvalidBundle, unpack
from telltale.channels.broker.group import GroupSlots, SenderNumbers
from telltale.channels.broker.listener import Listeners
from telltale.channels.broker.sender import LAYER_TIMEOUT_S, LoopWaker
from telltale.channels.receiving import cancel_receiving
from telltale.native import call_after_fork

SILENCE_S: Final = 3.0
"""After so long without a bundle, a beacon is sent; less than the 5 s after which redis-py 8 gives up reading."""

ANSWER_TIMEOUT_S: Final = 3.0
"""How long a beacon may take. The sender waits for its turn, and a busy machine is slow."""

RETRY_RECEIVE_S: Final = 1.0
"""A receive that fails so long after the one before is simply repeated."""

LEAVE_TIMEOUT_S: Final = 0.5
"""How long leaving the group may take after an error."""

logger = logging.getLogger("telltale.brokers")


class LayerSilent(Exception):
    """The layer accepts messages, but does not deliver them."""


class LayerSubscription:
    """This process's membership of the group, over one layer after another."""

    def __init__(self, listeners: Listeners, send_beacon: Callable[[], None]) -> None:
        self.is_live = False
        """Whether the present layer has delivered a bundle to this process."""
        self.is_joined = False
        self.lost_bundles = LossCounter(
            "%d bundles of messages were lost: the channel layer was full, or kept them for too long. Pages are "
            "updated from the database. Raise the layer's `capacity`, or use TELLTALE['BROKER'] = 'redis://…'."
        )
        self._listeners = listeners
        self._send_beacon = send_beacon
        self._waker = LoopWaker()
        self._numbers = SenderNumbers()
        self._heard_at = 0.0
        self._is_closing = False
        call_after_fork(self._waker)

    # Called by any thread -----------------------------------------------------------------------

    def listeners_changed(self) -> None:
        """Join the group, or leave it if the last listener was closed."""
        self._waker.wake()

    def close(self) -> None:
        """Leave the group, then end."""
        self._is_closing = True
        self._waker.wake()

    # In the layer's thread ----------------------------------------------------------------------

    async def run(self, layer: Any, slots: GroupSlots) -> None:
        """Receive while there are listeners, until closed; raises what the layer raises, and `LayerSilent`."""
        self._waker.attach()
        while not self._is_closing:
            await self._waker.wait()
            if self._listeners and not self._is_closing:
                await self._subscribe(layer, slots)

    async def _subscribe(self, layer: Any, slots: GroupSlots) -> None:
        membership = Membership(layer, slots)
        try:
            await membership.join()
            await self._receive_until_done(layer, membership)
        except Exception:
            # The layer would keep messages for a channel that no process reads.
            with suppress(Exception):
                async with asyncio.timeout(LEAVE_TIMEOUT_S):
                    await membership.leave()
            raise
        await membership.leave()

    async def _receive_until_done(self, layer: Any, membership: "Membership") -> None:
        self._heard_at, self.is_joined = time.monotonic(), True
        receiving = asyncio.create_task(self._receive(layer, membership.channel))
        try:
            self._listeners.put_missed()
            self._send_beacon()
            await self._watch(membership, receiving)
        finally:
            self.is_joined = self.is_live = False
            # Its error is raised by `_watch`, unless it came too late for that.
            await cancel_receiving(receiving)

    async def _watch(self, membership: "Membership", receiving: "asyncio.Task[None]") -> None:
        """Return when no longer needed; raise what `receiving` raises, and `LayerSilent`."""
        receiving.add_done_callback(lambda _task: self._waker.wake())
        asked_at, may_be_silent_s = math.inf, SILENCE_S * uniform(1.0, 1.3)  # noqa: S311 (no secret)
        while self._listeners and not self._is_closing:
            if receiving.done():
                receiving.result()
            now = time.monotonic()
            if self._heard_at >= asked_at:
                asked_at = math.inf
            if now >= asked_at + ANSWER_TIMEOUT_S:
                raise LayerSilent(f"The channel layer has delivered nothing for {now - self._heard_at:.0f} s.")
            if asked_at == math.inf and now >= self._heard_at + may_be_silent_s:
                asked_at = now
                self._send_beacon()
            await membership.renew()
            due_at = self._heard_at + may_be_silent_s if asked_at == math.inf else asked_at + ANSWER_TIMEOUT_S
            await self._waker.wait(min(due_at - now, membership.renew_within_s()))

    async def _receive(self, layer: Any, channel: str) -> None:
        failed_at = -math.inf
        while self.is_joined:
            try:
                message = await layer.receive(channel)
            except Exception as error:
                # redis-py 8 gives up reading after 5 s without a message. A dead connection fails again at once.
                # When cancelled, a layer may raise another error (KeyError); then `is_joined` ends the loop.
                if time.monotonic() - failed_at < RETRY_RECEIVE_S:
                    raise
                failed_at = time.monotonic()
                logger.debug("Receiving from the channel layer failed, and is repeated: %r", error)
                continue
            self._heard_at, self.is_live = time.monotonic(), True
            self._handle(message)

    def _handle(self, message: Any) -> None:
        try:
            bundle = unpack(message.get("data"))
        except InvalidBundle as error:
            logger.debug("A message of the channel layer could not be read: %s", error)
            self._listeners.put_missed()
            return
        gap = self._numbers.add(bundle.sender, bundle.number, is_beacon=_is_beacon(bundle))
        self._listeners.put(bundle)
        if gap.is_possible:
            self._listeners.put_missed()
            self.lost_bundles.add(gap.bundles, now=time.monotonic())


class Membership:
    """A channel of this process, in the group's present names."""

    channel: str

    def __init__(self, layer: Any, slots: GroupSlots) -> None:
        self._layer, self._slots = layer, slots
        self._joined: set[str] = set()

    async def join(self) -> None:
        """Make a channel, and join."""
        async with asyncio.timeout(LAYER_TIMEOUT_S):
            self.channel = await self._layer.new_channel()
        await self.renew()

    async def renew(self) -> None:
        """Join the group's new names, and leave the old ones."""
        await self._change_to(self._slots.to_join(time.time()))

    def renew_within_s(self) -> float:
        """After how many seconds to renew."""
        return self._slots.next_change_s(time.time()) + 0.001

    async def leave(self) -> None:
        """Leave, so that the layer keeps no more messages for this process."""
        await self._change_to(set())
        # RedisChannelLayer removes received messages from its backup in tasks that it starts; it has this method.
        wait_received = getattr(self._layer, "wait_received", None)
        if wait_received is not None:
            async with asyncio.timeout(LAYER_TIMEOUT_S):
                await wait_received()

    async def _change_to(self, wanted: set[str]) -> None:
        for group in sorted(wanted - self._joined):
            async with asyncio.timeout(LAYER_TIMEOUT_S):
                await self._layer.group_add(group, self.channel)
            self._joined.add(group)
        for group in sorted(self._joined - wanted):
            async with asyncio.timeout(LAYER_TIMEOUT_S):
                await self._layer.group_discard(group, self.channel)
            self._joined.remove(group)


def _is_beacon(bundle: Bundle) -> bool:
    return not (bundle.messages or bundle.missed_topics or bundle.missed_any)
