"""The broker for sites of several machines: Redis' publish and subscribe, and nothing that it stores.

Reach: the whole site. Cost: one connection for each process that publishes and for each listener (for each
server of a cluster that they need), some microseconds a message at either end. Limits: nothing is kept, so whoever is
cut off loses what is said meanwhile, and is told so when they are back.
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
        f"TELLTALE['BROKER'] names Redis, and {error}. Install what it needs: pip install 'django-telltale[redis]'."
    ) from error

from telltale import native
from telltale.brokers.base import Deliver, Listener, Message, Missed, Reach
from telltale.brokers.delivery import Callbacks
from telltale.brokers.redis.listener import RedisListener
from telltale.brokers.redis.loop_listener import RedisLoopListener
from telltale.brokers.redis.publisher import Publisher
from telltale.brokers.redis.topology import places
from telltale.brokers.redis.url import Address, parse
from telltale.native import call_after_fork


class RedisBroker:
    """Publishes from any thread over one line; each listener has another, and a thread."""

    reach = Reach.SITE

    def __init__(self, address: Address) -> None:
        self._places = places(address)
        self._publisher = Publisher(self._places)
        self._lock = native.lock()
        self._listeners: set[RedisListener | RedisLoopListener] = set()
        call_after_fork(self)

    def publish(self, messages: Sequence[Message]) -> None:
        """Hand over to Redis, each message to the channel of each of its topics; its answers are read later."""
        self._publisher.publish(messages)

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """Connect, for some seconds at most; the listener hears nothing until it follows."""
        listener = RedisListener(self._places, Callbacks(deliver, missed), self._remove)
        with self._lock:
            self._listeners.add(listener)
        return listener

    def listen_on(self, loop: asyncio.AbstractEventLoop, deliver: Deliver, missed: Missed) -> Listener:
        """As `listen`, on the loop itself."""
        listener = RedisLoopListener(loop, self._places, Callbacks(deliver, missed), self._remove)
        with self._lock:
            self._listeners.add(listener)
        return listener

    def close(self) -> None:
        """Stop the listeners, and let go of the lines once Redis has answered."""
        for listener in list(self._listeners):
            listener.close()
        self._publisher.close()

    def after_fork(self) -> None:
        """Publisher and listeners look after themselves."""
        self._lock, self._listeners = native.lock(), set()

    def _remove(self, listener: RedisListener | RedisLoopListener) -> None:
        with self._lock:
            self._listeners.discard(listener)


def build(url: SplitResult) -> RedisBroker:
    """For `redis://`, `rediss://`, `unix://`, and `redis+sentinel://`, `redis+cluster://`, with TLS too."""
    return RedisBroker(parse(url))
