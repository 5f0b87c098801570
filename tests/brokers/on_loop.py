"""Brokers heard by an event loop, where a test would have them heard by a thread."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from telltale.brokers.base import Deliver, Listener, Missed
from telltale.brokers.redis.broker import RedisBroker


class OnItsLoop:
    """A broker whose listeners an event loop drives."""

    def __init__(self, broker: RedisBroker, loop: asyncio.AbstractEventLoop) -> None:
        self.reach, self.publish, self.close = broker.reach, broker.publish, broker.close
        self._broker, self._loop = broker, loop

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        return self._broker.listen_on(self._loop, deliver, missed)


@contextmanager
def running_loop(
    make: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in a thread."""
    loop = make()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
