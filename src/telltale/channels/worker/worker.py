"""`manage.py telltale worker`: runs the consumers of some channels, and takes a message only when it can begin it.

It serves the same application as Channels' `runworker`, over the same layer. `concurrency` slots share the channels;
each takes one message, has the channel's consumer handle it, and takes the next. What waits stays in the layer, so a
worker that is killed loses nothing but what it runs. SIGTERM: it takes nothing more, gives back what it took but did
not begin, finishes what it runs, and ends. A second signal ends it at once.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn

from asgiref.sync import ThreadSensitiveContext
from channels.exceptions import StopConsumer
from channels.layers import channel_layers
from channels.routing import get_default_application
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from telltale.channels.layers import describe, required_layer
from telltale.channels.runner.consumers import ONE_AT_A_TIME, refuse
from telltale.channels.runner.task_message import TaskMessage
from telltale.channels.worker.redis_queue import Delivery, RedisQueue
from telltale.core.outage import Outage

logger = logging.getLogger(__name__)

RETRY_S: Final = 1.0
"""The time between two tries to reach a layer that failed."""

CANCEL_AGAIN_S: Final = 0.5
"""A layer's `receive` that was cancelled, and has not ended after this time, is cancelled again."""


class CannotWork(Exception):
    """The worker can't begin. The message names the option or setting, and the fix."""


def work(
    channels: Sequence[str], *, concurrency: int, application: str | None, layer: str, report: Callable[[str], None]
) -> None:
    """Run a worker until a signal ends it.

    `concurrency`: how many messages are handled at once. `application`: a dotted path; None for ASGI_APPLICATION.
    `layer`: an alias of CHANNEL_LAYERS. `report` is called with lines for the operator. Raises `CannotWork`.
    """
    if concurrency < 1:
        raise CannotWork(f"--concurrency is {concurrency}, but a worker handles at least 1 message at once.")
    worker = Worker(_application(application), _queue(layer, channels), concurrency=concurrency)
    names = ", ".join(channels)
    asyncio.run(worker.run(lambda: report(f"Waiting for messages on {names}; {concurrency} at once.")))
    report("Stopped: everything that was begun has ended.")


def _application(path: str | None) -> Any:
    try:
        return import_string(path) if path is not None else get_default_application()
    except (ImportError, ImproperlyConfigured) as error:
        option = f"--application is {path!r}" if path is not None else "The setting ASGI_APPLICATION"
        raise CannotWork(
            f"{option}, which can't be used ({error}): name the application with your ProtocolTypeRouter, such as "
            '"mysite.asgi.application".'
        ) from error


def _queue(alias: str, channels: Sequence[str]) -> RedisQueue:
    try:
        layer = required_layer(alias)
    except ImproperlyConfigured as error:
        raise CannotWork(str(error)) from error
    if not RedisQueue.supports(layer):
        raise CannotWork(
            f"{describe(alias, layer)} keeps no messages for other processes: a layer in memory reaches only its own "
            "process, and one of Redis pub/sub delivers each message to all workers. Use "
            "channels_redis.core.RedisChannelLayer, under another alias if need be (--layer)."
        )
    for channel in channels:
        if "!" in channel:
            raise CannotWork(f"--channels names {channel!r}, a consumer's own channel: name one of ChannelNameRouter.")
        try:
            layer.require_valid_channel_name(channel)
        except TypeError as error:
            raise CannotWork(f"--channels names {channel!r}: {error}") from error
    return RedisQueue(layer, channels)


class Worker:
    """The slots of one process, in one event loop."""

    def __init__(self, application: Any, queue: RedisQueue, *, concurrency: int) -> None:
        self._application = application
        self._queue = queue
        self._concurrency = concurrency
        self._turn = asyncio.Lock()
        """Held by the slot that takes the next message: one connection suffices for all slots."""
        self._stop_requested = asyncio.Event()
        self._outage = Outage(logger, "Taking messages from the channel layer", "Nothing new begins until it works.")

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until a signal arrives, and until everything that was begun has ended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        ready()
        async with asyncio.TaskGroup() as slots:
            for _slot in range(self._concurrency):
                slots.create_task(self._work())

    def _stop(self) -> None:
        self._stop_requested.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)  # The next one ends the process.

    async def _work(self) -> None:
        consumers: dict[str, Consumer] = {}
        try:
            while (delivery := await self._take()) is not None:
                consumer = consumers.get(delivery.channel)
                if consumer is None or consumer.has_ended:
                    consumer = consumers[delivery.channel] = Consumer(self._application, delivery.channel)
                await consumer.handle(delivery.message)
        finally:
            for consumer in consumers.values():
                await consumer.close()

    async def _take(self) -> Delivery | None:
        """The next message; None once the worker stops."""
        async with self._turn:
            while not self._stop_requested.is_set():
                try:
                    delivery = await self._queue.take()
                except Exception as error:  # Layers raise the errors of their own libraries.
                    self._outage.begin(error, now=time.monotonic())
                    await asyncio.sleep(RETRY_S)
                    continue
                self._outage.end(now=time.monotonic())
                if delivery is not None and self._stop_requested.is_set():
                    await self._give_back(delivery)
                elif delivery is not None:
                    return delivery
            return None

    async def _give_back(self, delivery: Delivery) -> None:
        try:
            await self._queue.give_back(delivery)
        except Exception:
            logger.exception("A message on %r can't be given back. Its task will end as failed.", delivery.channel)


class Consumer:
    """A running instance of the application for one channel, which handles one message at a time.

    It has handled a message when it asks for the next one, or when it ends.
    """

    def __init__(self, application: Any, channel: str) -> None:
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue(1)
        self._is_idle = asyncio.Event()
        scope = {"type": "channel", "channel": channel, ONE_AT_A_TIME: True}
        self._running = asyncio.create_task(self._run(application, scope))

    @property
    def has_ended(self) -> bool:
        """Whether it takes no more messages: its application has returned or failed."""
        return self._running.done()

    async def handle(self, message: dict[str, Any]) -> None:
        """Have the application handle the message; returns when it has, and logs its errors."""
        self._is_idle.clear()
        self._inbox.put_nowait(message)
        idle = asyncio.create_task(self._is_idle.wait())
        waiting = [idle, self._running]
        while not (await asyncio.wait(waiting, timeout=CANCEL_AGAIN_S, return_when=asyncio.FIRST_COMPLETED))[0]:
            _cancel_receives_again()
        idle.cancel()
        if not self.has_ended:
            return
        error = None if self._running.cancelled() else self._running.exception()
        if error is None:
            return
        logger.error("The application failed on %r.", message.get("type"), exc_info=error)
        sent = TaskMessage.from_dict(message)
        if sent is not None:
            await refuse(sent, repr(error))

    async def close(self) -> None:
        """End the application, which is idle."""
        while not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running], timeout=CANCEL_AGAIN_S)
        with suppress(asyncio.CancelledError, Exception):
            await self._running

    async def _run(self, application: Any, scope: dict[str, Any]) -> None:
        # A thread of its own also for consumers that are not ours: Channels has one for all of a process.
        async with ThreadSensitiveContext():
            with suppress(StopConsumer):
                await application(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if self._inbox.empty():
            self._is_idle.set()
        return await self._inbox.get()

    async def _send(self, message: dict[str, Any]) -> NoReturn:
        raise TypeError(
            f"A consumer of the channel layer has no client, so {message.get('type')!r} can't be sent: use a group "
            "of the layer, telltale.notify or telltale.publish."
        )


def _cancel_receives_again() -> None:
    """Cancel again what a consumer has cancelled: the `receive` of its own channel.

    Channels waits for it when a consumer fails. A layer that is opening its connection can swallow a cancellation.
    """
    codes = {type(layer).receive.__code__ for layer in channel_layers.backends.values()}
    for task in asyncio.all_tasks():
        if task.cancelling() and getattr(task.get_coro(), "cr_code", None) in codes:
            task.cancel()
