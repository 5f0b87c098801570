"""The broker for sites on several machines: Redis' publish and subscribe. Nothing is stored in Redis.

Reach: the whole site. Cost: one connection for each process that publishes and one for each listener (of a
cluster, one to each server that they need); some microseconds a message at either end. Limits: a listener that is
disconnected loses the messages published meanwhile, and `missed` is called when it is connected again.
"""

import asyncio
from collections.abc import Sequence
from urllib.parse import SplitResult

from django.core.exceptions import ImproperlyConfigured

try:
    import hiredis  # noqa: F401
    import redis  # noqa: F401
except ImportError as error:
    raise ImproperlyConfigured(
        f"TELLTALE['BROKER'] names Redis, but a package is missing: pip install 'django-telltale[redis]'. ({error})"
    ) from error

from telltale import native
from telltale.brokers.base import Deliver, Listener, Message, Missed, Reach
from telltale.brokers.delivery import Callbacks
from telltale.brokers.redis.address import RedisAddress, parse
from telltale.brokers.redis.listener import RedisListener
from telltale.brokers.redis.loop_listener import RedisLoopListener
from telltale.brokers.redis.publisher import Publisher
from telltale.brokers.redis.thread_listener import RedisThreadListener
from telltale.brokers.redis.topology import build_topology
from telltale.native import call_after_fork


class RedisBroker:
    """Publishes from any thread over one connection; each listener has a connection of its own."""

    reach = Reach.SITE

    def __init__(self, address: RedisAddress) -> None:
        self._topology = build_topology(address)
        self._publisher = Publisher(self._topology)
        self._lock = native.lock()
        self._listeners: set[RedisListener] = set()
        call_after_fork(self)

    def publish(self, messages: Sequence[Message]) -> None:
        """Send each message to the channel of each of its topics; Redis' answers are read later."""
        self._publisher.publish(messages)

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """Connect, within some seconds; the listener receives nothing until it follows a topic."""
        return self._add(RedisThreadListener(self._topology, Callbacks(deliver, missed), self._remove))

    def listen_on(self, loop: asyncio.AbstractEventLoop, deliver: Deliver, missed: Missed) -> Listener:
        """As `listen`, on the event loop itself."""
        return self._add(RedisLoopListener(loop, self._topology, Callbacks(deliver, missed), self._remove))

    def close(self) -> None:
        """Close the listeners, and the publisher's connections once Redis has answered."""
        for listener in list(self._listeners):
            listener.close()
        self._publisher.close()

    def after_fork(self) -> None:
        """Drop the parent's lock and listeners; publisher and listeners close their inherited sockets themselves."""
        self._lock, self._listeners = native.lock(), set()

    def _add(self, listener: RedisListener) -> RedisListener:
        with self._lock:
            self._listeners.add(listener)
        return listener

    def _remove(self, listener: RedisListener) -> None:
        with self._lock:
            self._listeners.discard(listener)


def build(url: SplitResult) -> RedisBroker:
    """For `redis://`, `rediss://`, `unix://`, and `redis+sentinel://`, `redis+cluster://`, also with TLS."""
    return RedisBroker(parse(url))
