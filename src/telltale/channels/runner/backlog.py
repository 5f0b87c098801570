"""What a consumer under Channels' own `runworker` has been given and has not begun.

`runworker` takes all messages from the layer at once, so they wait in this process, where the layer's expiry no longer
counts. While the process lives, their tasks get more time to begin. When it dies, that time runs out, and each task
that it held ends as failed.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Self
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connections

from telltale import store
from telltale.channels.runner.task_message import TaskMessage

logger = logging.getLogger(__name__)

BATCH_SIZE: Final = 500
"""How many tasks one UPDATE postpones: some databases limit a statement to 999 parameters."""

Message = dict[str, Any]


class Backlog:
    """An async context manager: within it, reads everything from `receive` at once, and `get` returns it in order."""

    def __init__(self, receive: Callable[[], Awaitable[Message]], *, kept_s: float) -> None:
        """`kept_s`: the time that a task has to begin; it is given again three times as often."""
        self._receive = receive
        self._kept_s = kept_s
        self._messages: deque[Message] = deque()
        self._end: Exception | None = None
        """The exception with which `receive` ended, such as `StopConsumer`."""
        self._has_more = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._postpone())]
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def get(self) -> Message:
        """The oldest message, once there is one. When all are handled, raises the exception of `receive`, if any."""
        while not self._messages:
            if self._end is not None:
                raise self._end
            self._has_more.clear()
            await self._has_more.wait()
        return self._messages.popleft()

    async def _read(self) -> None:
        try:
            while True:
                self._messages.append(await self._receive())
                self._has_more.set()
        except Exception as end:
            self._end = end
            self._has_more.set()

    async def _postpone(self) -> None:
        while True:
            await asyncio.sleep(self._kept_s / 3)
            tasks = [task for message in self._messages if (task := TaskMessage.from_dict(message)) is not None]
            ids = [task.header.task_id for task in tasks]
            for start in range(0, len(ids), BATCH_SIZE):
                # Not in the consumer's thread, where a handler may be busy for minutes.
                await sync_to_async(_postpone_start, thread_sensitive=False)(
                    ids[start : start + BATCH_SIZE], self._kept_s
                )


def _postpone_start(ids: Sequence[UUID], kept_s: float) -> None:
    try:
        store.postpone_start_by(ids, store.now() + kept_s)
    except Exception as error:
        # Whatever a driver raises: without this loop, all tasks that wait here would end as failed.
        logger.warning("%d tasks that wait in this process can't be given more time to begin: %s", len(ids), error)
    finally:
        with suppress(Exception):
            connections.close_all()
