"""Writing through a server's ASGI `send`, without a task for each client or each message.

Servers finish a `send` at once unless the line is full, so the outlet calls `send` and steps it where the message
comes from. Only a `send` that has to wait gets a task, and blocks its client until it is done. So a client costs the
one coroutine that its server started, which only receives. `AsgiOutlet` is used by `websocket.py` and `sse.py`; other
protocols build on `AsgiLine`.
"""

import asyncio
import logging
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, MutableMapping
from contextlib import suppress
from types import CoroutineType
from typing import Any, Final, Protocol

from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.transports.base import Client
from telltale.transports.http import FLUSH_S, Receive, Send

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
LastMessages = Callable[[Connection], Iterable[Message]]

LINGER_S: Final = 5.0
"""Time for a client to disconnect after the last message; some servers would wait for ever."""


class LineClient(Protocol):
    """A client, as its line uses it."""

    def block(self) -> None:
        """The line takes nothing more: write nothing until `unblock`."""

    def unblock(self) -> None:
        """The line takes more."""


class AsgiLine:
    """Writes to one client of an ASGI server; made in the coroutine that serves the client."""

    __slots__ = (
        "_is_cancelling",
        "_is_finished",
        "_is_listening",
        "_is_open",
        "_line_client",
        "_linger_timer",
        "_queued",
        "_send",
        "_sending",
        "_task",
    )

    def __init__(self, send: Send) -> None:
        self._send = send
        self._task = asyncio.current_task()
        self._line_client: LineClient | None = None
        self._sending: asyncio.Task[None] | None = None
        self._queued: deque[Message] | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._is_open = self._is_finished = False
        self._is_listening = self._is_cancelling = False

    def attach(self, client: LineClient) -> None:
        """Allow messages from now on."""
        self._line_client, self._is_open = client, True

    def write(self, message: Message) -> None:
        """Send the message; if the server makes it wait, block the client until it is sent."""
        if not self._is_open:
            return
        if self._sending is not None:
            return self._queue(message)
        try:
            awaitable = self._send(message)
            # Most servers return a coroutine: stepping it directly costs half.
            steps = None if type(awaitable) is CoroutineType else iter(awaitable.__await__())
            waits_for = awaitable.send(None) if steps is None else next(steps)  # type: ignore[attr-defined]
        except StopIteration:
            return
        except (Exception, CancelledError) as error:
            return self._lost(error)
        self._sending = asyncio.ensure_future(self._finish(steps or iter(awaitable.__await__()), waits_for))
        assert self._line_client is not None  # noqa: S101 (set with `_is_open`)
        self._line_client.block()

    def finish(self, last_messages: Iterable[Message]) -> None:
        """Send the last messages, after the one that waits; the client then has some seconds to disconnect."""
        if not self._is_open:
            return
        for message in last_messages:
            self.write(message)
        self._is_open = False
        self._linger_timer = asyncio.get_running_loop().call_later(LINGER_S, self._stop_listening)

    def close(self) -> None:
        """Free everything; the coroutine that serves the client returns."""
        self._is_open = False
        if self._sending is not None:
            self._sending.cancel()
        if self._linger_timer is not None:
            self._linger_timer.cancel()

    # Writing -------------------------------------------------------------------------------------

    def _queue(self, message: Message) -> None:
        """Queue a last message behind the one that waits: two sends must not overtake each other."""
        if self._queued is None:
            self._queued = deque()
        self._queued.append(message)

    async def _finish(self, steps: Iterator[Any], waits_for: Any) -> None:
        try:
            await _StartedAwaitable(steps, waits_for)
            while self._queued:
                await self._send(self._queued.popleft())
        except (Exception, CancelledError) as error:
            return self._lost(error)
        finally:
            self._sending = None
        if self._is_open and self._line_client is not None:
            self._line_client.unblock()

    def _lost(self, error: BaseException) -> None:
        # Servers raise various errors when the client has disconnected.
        logger.debug("A message could not be sent: %r", error)
        self._is_open = False
        self._stop_listening()

    # Listening -----------------------------------------------------------------------------------

    async def listen(self, receive: Receive) -> Message:
        """Return the next event from the client, or one of type `finished` once it is no longer served."""
        if self._is_finished:
            return _FINISHED
        self._is_listening = True
        try:
            event = await receive()
        except CancelledError:
            if not self._takes_back_cancellation():
                await self._say_drain()
                raise
            return _FINISHED
        finally:
            self._is_listening = False
        self._takes_back_cancellation()  # Some servers turn a cancellation into an event.
        return event

    def _stop_listening(self) -> None:
        """Make `listen` return, now or when it is called."""
        if self._is_finished:
            return
        self._is_finished = True
        if self._is_listening and self._task is not None:
            self._is_cancelling = self._task.cancel()

    def drain(self) -> None:
        """Close the client, because its server shuts down; protocols override it."""

    async def _say_drain(self) -> None:
        """Tell the client why it ends: some servers announce their shutdown by a cancellation only."""
        if self._line_client is not None:
            self.drain()
            await asyncio.sleep(FLUSH_S)

    def _takes_back_cancellation(self) -> bool:
        """Whether the task was cancelled by this outlet alone; then the cancellation is undone."""
        if not self._is_cancelling or self._task is None:
            return False
        self._is_cancelling = False
        return self._task.uncancel() == 0


class AsgiOutlet(AsgiLine):
    """Satisfies `transports.base.Outlet`."""

    __slots__ = ("_client", "_last_messages", "form")

    def __init__(self, send: Send, form: Callable[[str], Message], last_messages: LastMessages) -> None:
        """`last_messages`: makes the final messages to the server, once the connection is closed."""
        super().__init__(send)
        self.form = form
        self._last_messages = last_messages
        self._client: Client | None = None

    def open(self, client: Client) -> None:
        """Allow messages from now on."""
        self._client = client
        self.attach(client)
        if client.connection.closed is not None:
            self.end()

    def end(self) -> None:
        """Send the last messages. A client closed as too slow is cut off instead."""
        if not self._is_open:
            return
        assert self._client is not None  # noqa: S101 (set with `_is_open`)
        if self._sending is not None and self._client.connection.closed is reasons.SLOW:
            self._is_open = False
            self._sending.cancel()
            return self._stop_listening()
        self.finish(self._last_messages(self._client.connection))

    def drain(self) -> None:
        """Close the client, because its server shuts down."""
        if self._client is not None:
            self._client.close(reasons.DRAIN)


_FINISHED: Final[Message] = {"type": "finished"}


class _StartedAwaitable:
    """The rest of an awaitable that was stepped once and now waits for `waits_for`."""

    def __init__(self, steps: Iterator[Any], waits_for: Any) -> None:
        self._steps, self._waits_for = steps, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            yield self._waits_for
        except CancelledError as error:
            # The server's code is cancelled too, so that it can clean up.
            if (throw := getattr(self._steps, "throw", None)) is None:
                raise
            with suppress(StopIteration):
                yield throw(error)
        yield from self._steps
