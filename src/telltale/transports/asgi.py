"""Writing through a server's ASGI `send`, without a task for each client or each message.

Servers finish a `send` at once unless the line is full, so it is called and stepped where the message comes from;
only one that has to wait gets a task, and blocks its follower until it is through. So a client costs the one
coroutine that its server started, which does nothing but listen. Used by `websocket.py` and `sse.py`.
"""

import asyncio
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, MutableMapping
from typing import Any

from telltale.core.connection import Connection
from telltale.transports.base import Follower, Receive, Send

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Farewell = Callable[[Connection], Iterable[Message]]


class AsgiOutlet:
    """Satisfies `transports.base.Outlet`; made in the coroutine that serves the client."""

    __slots__ = ("_farewell", "_follower", "_interrupted", "_is_open", "_rest", "_send", "_task", "form")

    def __init__(self, send: Send, form: Callable[[str], Message], farewell: Farewell) -> None:
        """`farewell`: the last messages to the server, once the connection is closed."""
        self.form = form
        self._send, self._farewell = send, farewell
        self._task = asyncio.current_task()
        self._rest: asyncio.Task[None] | None = None
        self._follower: Follower | None = None
        self._is_open = False
        self._interrupted = False

    def open(self, follower: Follower) -> None:
        """From now on messages may go."""
        self._follower, self._is_open = follower, True
        if follower.connection.closed is not None:
            self.end()

    def write(self, message: Message) -> None:
        """See the contract."""
        if not self._is_open:
            return
        step: Iterator[Any] = iter(self._send(message).__await__())
        try:
            waits_for = next(step)
        except StopIteration:
            return
        except Exception as error:
            self._lost(error)
            return
        assert self._follower is not None  # noqa: S101 (set with `_is_open`)
        self._follower.block()
        self._rest = asyncio.ensure_future(self._finish(step, waits_for))

    def end(self) -> None:
        """See the contract. A line that takes nothing more is cut; whoever is on it is too slow, or gone."""
        if not self._is_open:
            return
        assert self._follower is not None  # noqa: S101 (set with `_is_open`)
        if self._rest is None:
            for message in self._farewell(self._follower.connection):
                self.write(message)
        else:
            self._rest.cancel()
            if self._task is not None and self._task is not asyncio.current_task():
                self._interrupted = self._task.cancel()
        self._is_open = False

    async def listen(self, receive: Receive) -> Message:
        """The next event from the client; a disconnect if the connection was ended meanwhile."""
        try:
            return await receive()
        except asyncio.CancelledError:
            if not self._interrupted or self._task is None:
                raise
            self._task.uncancel()
            self._interrupted = False
            return {"type": "interrupted"}

    def close(self) -> None:
        """The client has gone."""
        self._is_open = False
        if self._rest is not None:
            self._rest.cancel()

    async def _finish(self, step: Iterator[Any], waits_for: Any) -> None:
        try:
            await _Rest(step, waits_for)
        except Exception as error:
            self._lost(error)
            return
        finally:
            self._rest = None
        if self._is_open and self._follower is not None:
            self._follower.unblock()

    def _lost(self, error: Exception) -> None:
        # Servers raise what they like at a client that has gone; they also tell the listening coroutine.
        logger.debug("A message could not be sent: %r", error)
        self._is_open = False


class _Rest:
    """What is left of an awaitable that was stepped once, and waits for `waits_for`."""

    def __init__(self, step: Iterator[Any], waits_for: Any) -> None:
        self._step, self._waits_for = step, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        yield self._waits_for
        yield from self._step
