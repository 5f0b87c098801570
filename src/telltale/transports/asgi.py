"""Writing through a server's ASGI `send`, without a task for each client or each message.

Servers finish a `send` at once unless the line is full, so it is called and stepped where the message comes from;
only one that has to wait gets a task, and blocks its follower until it is through. So a client costs the one
coroutine that its server started, which does nothing but listen. Used by `websocket.py` and `sse.py`.
"""

import asyncio
import logging
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, MutableMapping
from contextlib import suppress
from types import CoroutineType
from typing import Any, Final

from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.transports.base import Follower
from telltale.transports.http import Receive, Send

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Farewell = Callable[[Connection], Iterable[Message]]

LINGER_S: Final = 5.0
"""After the farewell a client has so long to go; servers differ in whether they would wait for ever."""

FLUSH_S: Final = 0.1
"""What a server that is ending gets for sending the last words."""


class AsgiOutlet:
    """Satisfies `transports.base.Outlet`; made in the coroutine that serves the client."""

    __slots__ = (
        "_farewell",
        "_follower",
        "_is_cancelling",
        "_is_listening",
        "_is_open",
        "_is_over",
        "_kept",
        "_lingering",
        "_rest",
        "_send",
        "_task",
        "form",
    )

    def __init__(self, send: Send, form: Callable[[str], Message], farewell: Farewell) -> None:
        """`farewell`: the last messages to the server, once the connection is closed."""
        self.form = form
        self._send, self._farewell = send, farewell
        self._task = asyncio.current_task()
        self._follower: Follower | None = None
        self._rest: asyncio.Task[None] | None = None
        self._kept: deque[Message] | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._is_open = self._is_over = False
        self._is_listening = self._is_cancelling = False

    def open(self, follower: Follower) -> None:
        """From now on messages may go."""
        self._follower, self._is_open = follower, True
        if follower.connection.closed is not None:
            self.end()

    def write(self, message: Message) -> None:
        """See the contract."""
        if not self._is_open:
            return
        if self._rest is not None:
            return self._keep(message)
        try:
            sending = self._send(message)
            # Most servers make a coroutine of it: stepped as it is, it costs half.
            step = None if type(sending) is CoroutineType else iter(sending.__await__())
            waits_for = sending.send(None) if step is None else next(step)  # type: ignore[attr-defined]
        except StopIteration:
            return
        except (Exception, CancelledError) as error:
            return self._lost(error)
        self._rest = asyncio.ensure_future(self._finish(step or iter(sending.__await__()), waits_for))
        assert self._follower is not None  # noqa: S101 (set with `_is_open`)
        self._follower.block()

    def end(self) -> None:
        """See the contract. Whoever is too slow is cut; what is only on its way may go, and the farewell after it."""
        if not self._is_open:
            return
        assert self._follower is not None  # noqa: S101 (set with `_is_open`)
        if self._rest is not None and self._follower.connection.closed is reasons.SLOW:
            self._is_open = False
            self._rest.cancel()
            return self._interrupt()
        for message in self._farewell(self._follower.connection):
            self.write(message)
        self._is_open = False
        self._lingering = asyncio.get_running_loop().call_later(LINGER_S, self._interrupt)

    def close(self) -> None:
        """The client has gone, or is to: its coroutine returns."""
        self._is_open = False
        for one in (self._rest, self._lingering):
            if one is not None:
                one.cancel()

    # Writing -------------------------------------------------------------------------------------

    def _keep(self, message: Message) -> None:
        """Of a farewell that has to wait, the rest goes behind it: two sends must not overtake each other."""
        if self._kept is None:
            self._kept = deque()
        self._kept.append(message)

    async def _finish(self, step: Iterator[Any], waits_for: Any) -> None:
        try:
            await _Rest(step, waits_for)
            while self._kept:
                await self._send(self._kept.popleft())
        except (Exception, CancelledError) as error:
            return self._lost(error)
        finally:
            self._rest = None
        if self._is_open and self._follower is not None:
            self._follower.unblock()

    def _lost(self, error: BaseException) -> None:
        # Servers raise what they like at a client that has gone.
        logger.debug("A message could not be sent: %r", error)
        self._is_open = False
        self._interrupt()

    # Listening -----------------------------------------------------------------------------------

    async def listen(self, receive: Receive) -> Message:
        """The next event from the client; one of no known type once the client is to be let go of."""
        if self._is_over:
            return _OVER
        self._is_listening = True
        try:
            event = await receive()
        except CancelledError:
            if not self._takes_back():
                await self._go_away()
                raise
            return _OVER
        finally:
            self._is_listening = False
        self._takes_back()  # Some servers answer a cancellation by an event.
        return event

    def _interrupt(self) -> None:
        """Have `listen` return, now or when it is called."""
        if self._is_over:
            return
        self._is_over = True
        if self._is_listening and self._task is not None:
            self._is_cancelling = self._task.cancel()

    async def _go_away(self) -> None:
        """The server ends, and some servers say so by nothing but a cancellation: its client is to hear why."""
        if self._follower is not None:
            self._follower.close(reasons.DRAIN)
            await asyncio.sleep(FLUSH_S)

    def _takes_back(self) -> bool:
        """Whether the task's cancellation was ours alone, which nobody else is to see."""
        if not self._is_cancelling or self._task is None:
            return False
        self._is_cancelling = False
        return self._task.uncancel() == 0


_OVER: Final[Message] = {"type": "over"}


class _Rest:
    """What is left of an awaitable that was stepped once, and waits for `waits_for`."""

    def __init__(self, step: Iterator[Any], waits_for: Any) -> None:
        self._step, self._waits_for = step, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            yield self._waits_for
        except CancelledError as error:
            # The server waits there, not we: it has its own to clear away.
            if (throw := getattr(self._step, "throw", None)) is None:
                raise
            with suppress(StopIteration):
                yield throw(error)
        yield from self._step
