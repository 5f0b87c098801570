"""What a project sends to its own groups, as events for the followers of a topic.

    relay("chat", topic="project:7")                 # in AppConfig.ready(): every process knows it
    relay("room-{}", topic="room:{}")                # a group for each topic: `{}` is the topic's name
    relay(topic="room:{}")                           # the group that `group_of(topic)` names

The project's code stays as it is: `group_send("room-7", {"type": "chat.message", "text": "Hello"})` reaches the pages
that follow `room:7` as the event `chat.message` with the data `{"text": "Hello"}`.

A group is listened to where and while a page follows its topic: one channel of the layer, and one coroutine that
waits, for each such topic in each web process. So every web process hears a message once, and hands it to its own
clients alone. Nothing is queued here. A layer drops what exceeds its capacity and tells no receiver, and an event is
in no store: what must not be lost belongs in a task or a notice.
"""

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, get_channel_layer
from django.conf import settings

from telltale.channels.groups import group_of
from telltale.channels.layers import required_layer
from telltale.channels.receiving import cancel_receiving
from telltale.core.outage import Outage
from telltale.core.topics import parse_open
from telltale.live.driver import Driver, on_attach
from telltale.messages import event_envelope

logger = logging.getLogger(__name__)

MAX_GROUPS: Final = 1_000
"""Groups that one event loop listens to; further ones are not relayed, and the log says so."""

RENEW_S: Final = 30.0
"""A membership is renewed at least this often, because a layer may lose its data."""

GROUP_EXPIRY_S: Final = 86_400.0
"""How long a layer keeps a membership unless it says otherwise; it is renewed in a third of that."""

LOOK_S: Final = 5.0
"""How often a listener looks whether anyone still follows."""

RETRY_S: Final = 1.0
"""Least time until a layer that failed is listened to again; at most three times that."""

LAYER_S: Final = 3.0
"""Time for the layer to carry out one call, except to receive; then it counts as failed."""

_OWN_TYPES: Final = "telltale."
"""Messages of Telltale itself, which are for no page."""

_LAST_TYPE: Final = f"{_OWN_TYPES}last"
"""What a listener sends to its own channel, to end its `receive`."""

_outage = Outage(logger, "Listening to the groups of a Channels layer", "Their messages reach no page until it works.")


def relay(group: str | None = None, *, topic: str, event: str | None = None, layer: str = "default") -> None:
    """Send what comes to `group` to the followers of `topic` too, as events. Call it in every process, once.

    `{}` in both stands for the name of the topic: `relay("room-{}", topic="room:{}")`. `group` None: the groups that
    `group_of` names. `event`: the name of the events; None: each message's type. The data is the rest of the
    message, which must be plain JSON of at most 8 KiB. `layer`: an alias of CHANNEL_LAYERS.

    Raises `InvalidTopic`, `ValueError` for an illegal group, and `ImproperlyConfigured` if there is no such layer.
    """
    parse_open(topic.replace(PLACE, "x"))
    if topic.count(PLACE) > 1 or (group is not None and group.count(PLACE) != topic.count(PLACE)):
        raise ValueError(
            f"relay({group!r}, topic={topic!r}) does not say which group belongs to which topic: write {{}} once in "
            "both, or in neither."
        )
    if group is not None and not _is_legal(group.replace(PLACE, "x")):
        raise ValueError(
            f"relay({group!r}) is no name of a Channels group: use ASCII letters, digits, '-', '_' and '.', fewer "
            "than 100 characters."
        )
    if isinstance(required_layer(layer), InMemoryChannelLayer) and not settings.DEBUG:
        logger.warning(
            "relay(topic=%r) listens to CHANNEL_LAYERS[%r], which is in memory: only what is sent in the web process "
            "of the page arrives. Use channels_redis if there is more than one process.",
            topic,
            layer,
        )
    _routes[Route(topic=topic, group=group, event=event, layer=layer)] = None
    on_attach(_listen_for)


PLACE: Final = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The arguments of `relay`."""

    topic: str
    group: str | None
    event: str | None
    layer: str

    def group_for(self, topic: str) -> str | None:
        """Return the group whose messages go to this topic; None if there is none, or none that is legal."""
        before, place, after = self.topic.partition(PLACE)
        if not place:
            group = (self.group or group_of(topic)) if topic == self.topic else None
        elif topic.startswith(before) and topic.endswith(after) and len(topic) > len(before) + len(after):
            name = topic[len(before) : len(topic) - len(after)]
            group = group_of(topic) if self.group is None else self.group.replace(PLACE, name)
        else:
            return None
        return group if group is not None and _is_legal(group) else None


def _is_legal(group: str) -> bool:
    try:
        return bool(BaseChannelLayer().require_valid_group_name(group))
    except TypeError:
        return False


_routes: dict[Route, None] = {}

_Listeners = dict[tuple[Route, str], "asyncio.Task[None]"]

_listeners: WeakKeyDictionary[Driver, _Listeners] = WeakKeyDictionary()
"""By driver, then by route and topic: the coroutine that listens."""


def _listen_for(driver: Driver, topics: AbstractSet[str]) -> None:
    """A client of this driver follows these topics: listen to their groups too."""
    listeners = _listeners.setdefault(driver, {})
    for route in _routes:
        for topic in topics:
            group = None if (route, topic) in listeners else route.group_for(topic)
            if group is None:
                continue
            if len(listeners) >= MAX_GROUPS:
                driver.counts["unrelayed"] += 1
                if driver.counts["unrelayed"] == 1:
                    logger.warning("The group %r is not relayed: this process listens to %s.", group, MAX_GROUPS)
                continue
            listener = GroupListener(driver, route, topic, group)
            listeners[route, topic] = asyncio.ensure_future(_run(listener, listeners, (route, topic)))


async def _run(listener: "GroupListener", listeners: _Listeners, key: tuple[Route, str]) -> None:
    try:
        await listener.run()
    finally:
        # At once, and not in a callback: a client that follows in between would find a listener that has ended.
        del listeners[key]


class GroupListener:
    """Hands what comes to one group to the clients of one driver, while any of them follows the topic."""

    def __init__(self, driver: Driver, route: Route, topic: str, group: str) -> None:
        self._driver, self._route, self._topic, self._group = driver, route, topic, group
        self._layer: Any = get_channel_layer(route.layer)
        self._renew_s = min(RENEW_S, getattr(self._layer, "group_expiry", GROUP_EXPIRY_S) / 3)
        self._refusals = Outage(logger, f"Relaying a message of the group {group!r}", "It was skipped.")

    async def run(self) -> None:
        """Listen until nobody follows the topic; a layer that fails is listened to again."""
        while self._is_followed():
            try:
                async with asyncio.timeout(LAYER_S):
                    channel = await self._layer.new_channel()
            except Exception as error:
                await self._wait_after(error)
                continue
            try:
                await self._listen(channel)
            finally:
                with suppress(Exception):
                    async with asyncio.timeout(LAYER_S):
                        await self._layer.group_discard(self._group, channel)

    def _is_followed(self) -> bool:
        return self._driver.hub.has_followers(self._topic)

    async def _listen(self, channel: str) -> None:
        """Hand over what comes on the channel. It stays the same after a failure: a layer may keep messages for it."""
        renew_at = failed_at = float("-inf")
        receiving: asyncio.Future[Mapping[str, Any]] | None = None
        try:
            while self._is_followed():
                try:
                    if time.monotonic() >= renew_at:
                        async with asyncio.timeout(LAYER_S):
                            await self._layer.group_add(self._group, channel)
                        renew_at = time.monotonic() + self._renew_s
                        _outage.end(now=time.monotonic())
                    if receiving is None:
                        receiving = asyncio.ensure_future(self._layer.receive(channel))
                    await asyncio.wait({receiving}, timeout=LOOK_S)
                    if receiving.done():
                        received, receiving = receiving, None
                        error = received.exception()
                        if error is None:
                            self._hand_over(received.result())
                            continue
                        renew_at = float("-inf")  # A layer that was restarted knows no members.
                        if time.monotonic() - failed_at < RETRY_S:
                            raise error
                        # redis-py 8 gives up reading after 5 s without a message. A dead layer fails again at once.
                        failed_at = time.monotonic()
                except Exception as error:
                    renew_at = float("-inf")
                    await self._wait_after(error)
            if receiving is not None and not receiving.done():
                await self._send_last(channel, receiving)
        finally:
            if receiving is not None:
                await cancel_receiving(receiving)

    async def _send_last(self, channel: str, receiving: "asyncio.Future[Any]") -> None:
        """End `receiving` by a message, where a cancellation would cost others theirs.

        All channels of a process have one queue in `RedisChannelLayer`, and one of its receivers reads for all. If that
        one is cancelled as Redis answers, the answer is lost, whoever it was for: another topic, or a consumer.
        """
        if not hasattr(self._layer, "receive_single"):
            return  # Others have a queue for each channel, which a cancellation frees.
        with suppress(Exception):
            async with asyncio.timeout(LAYER_S):
                await self._layer.send(channel, {"type": _LAST_TYPE})
                await asyncio.wait({receiving})

    async def _wait_after(self, error: Exception) -> None:
        # A layer may raise anything; it may work again in a moment.
        _outage.begin(error, now=time.monotonic())
        await asyncio.sleep(random.uniform(RETRY_S, 3 * RETRY_S))  # noqa: S311 (no secret)

    def _hand_over(self, message: Mapping[str, Any]) -> None:
        kind = str(message.get("type", ""))
        if kind.startswith(_OWN_TYPES):
            return
        data = {key: value for key, value in message.items() if key != "type"}
        try:
            envelope = event_envelope(self._topic, self._route.event or kind, data)
        except (TypeError, ValueError) as error:
            self._driver.counts["relay refused"] += 1
            return self._refusals.begin(error, now=time.monotonic())
        self._refusals.end(now=time.monotonic())
        self._driver.counts["relayed"] += 1
        self._driver.deliver([envelope])
