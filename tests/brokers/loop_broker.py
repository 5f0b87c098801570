"""A Redis broker whose listeners run on an event loop, for tests that call `listen`."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from telltale.brokers.base import Deliver, Listener, Missed
from telltale.brokers.redis.broker import RedisBroker


class LoopBroker:
    """A broker whose `listen` is `listen_on` with the given loop."""

    def __init__(self, broker: RedisBroker, loop: asyncio.AbstractEventLoop) -> None:
        self.reach, self.publish, self.close = broker.reach, broker.publish, broker.close
        self._broker, self._loop = broker, loop

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        return self._broker.listen_on(self._loop, deliver, missed)


@contextmanager
def running_loop(
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread."""
    loop = new_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
