"""The broker over a channel layer of a project with Django Channels: `channels://default`.

Reach: the whole site with channels_redis, this process with the in-memory layer. Cost: a thread with an event loop
for each process; at most 20 bundles a second from each publishing process, each some 2 ms of CPU with
`RedisChannelLayer`, and some 1 ms in each process that listens. Limits: every listening process receives every
bundle; what a full layer drops is found by missing numbers, counted, and read from the store; a message that
follows another within 50 ms is late by that.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import SplitResult

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from telltale import native
from telltale.brokers.base import BrokerUnavailable, Deliver, Listener, Message, Missed, Reach
from telltale.brokers.delivery import Callbacks, without_oversized
from telltale.brokers.urls import redact
from telltale.channels.broker.group import site_name
from telltale.channels.broker.listener import ChannelsListener, LoopListener, ThreadListener
from telltale.channels.broker.process_lock import ProcessLock
from telltale.channels.broker.thread import LayerThread
from telltale.native import call_after_fork

DEFAULT_ALIAS: Final = "default"

LISTEN_TIMEOUT_S: Final = 1.0
"""How long `listen` waits for the group; a layer nearby needs some 10 ms."""

_EXAMPLE: Final = (
    '{"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": ["redis://localhost:6379"]}}'
)

logger = logging.getLogger("telltale.brokers")


class ChannelsBroker:
    """Passes messages to its layer thread, which exists from the first use to `close`."""

    def __init__(self, alias: str, make_layer: Callable[[], Any], reach: Reach) -> None:
        self.reach = reach
        self._alias, self._make_layer, self._site = alias, make_layer, site_name()
        self._lock = native.lock()
        self._layer_thread: LayerThread | None = None
        self._process_lock = ProcessLock(self._site)
        call_after_fork(self)

    @property
    def lost_bundles(self) -> int:
        """How many bundles of other processes were missing since the layer thread began."""
        present = self._layer_thread
        return 0 if present is None else present.subscription.lost_bundles.total

    @property
    def dropped_messages(self) -> int:
        """How many messages of this process did not fit into a bundle since the layer thread began."""
        present = self._layer_thread
        return 0 if present is None else present.sender.dropped_messages.total

    def publish(self, messages: Sequence[Message]) -> None:
        """Queue the messages, which are sent within 50 ms. Raises `BrokerUnavailable` while the layer fails."""
        kept = without_oversized(messages)
        if kept:
            self._thread().send(kept)

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """Deliver followed messages from a thread of the listener; while the layer fails, call `missed`."""
        layer_thread = self._thread()
        return self._add(layer_thread, ThreadListener(Callbacks(deliver, missed), layer_thread.remove_listener))

    def listen_on(self, loop: asyncio.AbstractEventLoop, deliver: Deliver, missed: Missed) -> Listener:
        """As `listen`, on the event loop."""
        layer_thread = self._thread()
        return self._add(layer_thread, LoopListener(loop, Callbacks(deliver, missed), layer_thread.remove_listener))

    def close(self) -> None:
        """Close the listeners and send queued messages, within a second. The broker may be used again afterwards."""
        with self._lock:
            layer_thread, self._layer_thread = self._layer_thread, None
        self._process_lock.release()
        if layer_thread is not None:
            layer_thread.close()

    def after_fork(self) -> None:
        """Drop the parent's layer thread and locks; the child starts its own thread."""
        self._lock, self._layer_thread = native.lock(), None
        self._process_lock.release()

    def _add(self, layer_thread: LayerThread, listener: ChannelsListener) -> ChannelsListener:
        try:
            layer_thread.add_listener(listener, timeout_s=LISTEN_TIMEOUT_S)
        except BrokerUnavailable:
            listener.close()
            raise
        return listener

    def _thread(self) -> LayerThread:
        present = self._layer_thread
        if present is not None:
            return present
        with self._lock:
            if self._layer_thread is None:
                self._layer_thread = LayerThread(self._make_layer, f"The channel layer {self._alias!r}", self._site)
                self._warn_of_other_process()
            return self._layer_thread

    def _warn_of_other_process(self) -> None:
        if self.reach is not Reach.PROCESS:
            return
        other = self._process_lock.other_process()
        if other is not None:
            logger.warning(
                "CHANNEL_LAYERS[%r] is the in-memory layer, which carries nothing between processes, but process %s "
                "uses it too. Pages are updated from the database, every 2 s. Use a layer of channels_redis, or "
                "TELLTALE['BROKER'] = 'local://'.",
                self._alias,
                other,
            )


def build(url: SplitResult) -> ChannelsBroker:
    """For `channels://ALIAS`; `channels://` means the alias "default"."""
    if url.path.strip("/") or url.query or url.fragment or "@" in url.netloc:
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {redact(url.geturl())!r}: write channels://ALIAS, with an alias of CHANNEL_LAYERS "
            "and nothing more. Servers and passwords are in CHANNEL_LAYERS."
        )
    try:
        from channels.layers import InMemoryChannelLayer, channel_layers
    except ImportError as error:
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {redact(url.geturl())!r}, which needs Channels: "
            f"pip install 'django-telltale[channels]'. ({error})"
        ) from error
    alias = url.netloc or DEFAULT_ALIAS
    configured = getattr(django_settings, "CHANNEL_LAYERS", {})
    if alias not in configured:
        has = f"it has {', '.join(map(repr, configured))}" if configured else "the setting is empty or missing"
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {redact(url.geturl())!r}, but CHANNEL_LAYERS has no layer {alias!r}: {has}. "
            f'Use an alias that it has, or add: CHANNEL_LAYERS = {{"{alias}": {_EXAMPLE}}}.'
        )

    def make_layer() -> Any:
        # Not `get_channel_layer`: consumers receive from that layer on their own event loop.
        return channel_layers.make_backend(alias)

    try:
        layer = make_layer()
    except Exception as error:
        # A layer may be any package's code, and may refuse its CONFIG by any exception.
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {redact(url.geturl())!r}, but CHANNEL_LAYERS[{alias!r}] can't be used: {error!r}. "
            "Correct its BACKEND and CONFIG."
        ) from error
    return ChannelsBroker(alias, make_layer, Reach.PROCESS if isinstance(layer, InMemoryChannelLayer) else Reach.SITE)
