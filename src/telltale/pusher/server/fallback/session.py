"""One session of a client that receives by HTTP requests: gathers what is written, and gives it to the request at hand.

To `PusherClient` the session is an outlet that is blocked whenever no request waits for messages. So the limits on
what waits for a client, and for how long, are those of every other connection.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Protocol

from telltale.pusher.protocol.close_codes import Code
from telltale.pusher.server.clients.client import PusherClient
from telltale.pusher.server.clients.client_messages import allow
from telltale.pusher.server.clients.client_messages import receive as handle_message
from telltale.pusher.server.fallback import frames

HEARTBEAT_S: Final = 25.0
"""A request waits for messages for this long, then gets a heartbeat; proxies end idle requests after 30 s or more."""

ABSENT_S: Final = 5.0
"""A client without a request that receives has gone after this time."""

CLOSED_S: Final = 5.0
"""A closed session is remembered for this long, so that the client's next request is told why."""

BATCH_BYTES: Final = 65_536
"""A batch with this much takes no more messages; they follow in the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a request gets for one `take`."""

    data: bytes
    """Frames; only one of them carries messages, so that a client reads all of them or none."""
    is_last: bool = False
    """Whether the response ends here: the session was closed, or a newer request receives in place of this one."""


class Receiver(Protocol):
    """A request that receives."""

    def receive(self, batch: Batch) -> None:
        """Called once for each `take`, at once or later."""


class Session:
    """Satisfies `client.Outlet`. Lives on one event loop; every method returns at once."""

    form = staticmethod(frames.form)
    size = staticmethod(len)

    client: PusherClient
    """Set when the server connects it."""

    def __init__(self, forget: Callable[[], None]) -> None:
        """`forget`: called once, when the session need not be known any longer."""
        self._loop = asyncio.get_running_loop()
        self._forget = forget
        self._receiver: Receiver | None = None
        self.is_waiting = False
        """Whether the receiver waits for messages."""
        self._payloads: list[bytes] = []
        self._payload_bytes = 0
        self._is_opened = False
        """Whether a client was told that the session exists."""
        self._code: Code | None = None
        self._answering: asyncio.Handle | None = None
        self._heartbeat: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None

    # What the server writes ----------------------------------------------------------------------

    def attach(self, client: PusherClient) -> None:
        """See `Outlet`."""
        self.client = client
        client.block()
        self._end_later(ABSENT_S)

    def write(self, payload: bytes) -> None:
        """Keep a message for the next batch."""
        self._payloads.append(payload)
        self._payload_bytes += len(payload)
        if self._payload_bytes >= BATCH_BYTES:
            self.client.block()
        if self.is_waiting:
            self._answer_soon()

    def end(self, code: Code) -> None:
        """Tell the client, now or at its next request, that the session is closed."""
        self._code = code
        if self.is_waiting:
            self._answer_soon()
        self._end_later(CLOSED_S)

    # Requests that receive -----------------------------------------------------------------------

    def connect(self, receiver: Receiver) -> None:
        """Receive by this request from now on; an older one ends."""
        previous, self._receiver = self._receiver, receiver
        if self.is_waiting and previous is not None:
            self._stop_waiting()
            previous.receive(_ENDED)
        self.client.hear()
        if self._code is None and self._end_timer is not None:
            self._end_timer.cancel()

    def take(self, receiver: Receiver) -> None:
        """Call the receiver's `receive` once there is something to receive."""
        if receiver is not self._receiver:
            return receiver.receive(_ENDED)
        self.is_waiting = True
        self.client.unblock()
        if self._payloads or self._code is not None or not self._is_opened:
            self._answer_soon()
        else:
            self._heartbeat = self._loop.call_later(HEARTBEAT_S, self._answer)

    def disconnect(self, receiver: Receiver, within_s: float | None = None) -> None:
        """The request has ended; the client leaves unless another one comes `within_s` (None: `ABSENT_S`)."""
        if receiver is not self._receiver:
            return
        self._receiver = None
        self._stop_waiting()
        if self._code is None:
            self._end_later(ABSENT_S if within_s is None else within_s)

    # What the client sends -----------------------------------------------------------------------

    def send(self, texts: Collection[str]) -> None:
        """Handle messages of the client; none is a sign of life."""
        if not texts:
            allow(self.client)
        for text in texts:
            if not handle_message(self.client, text):
                return

    # Answers -------------------------------------------------------------------------------------

    def _answer_soon(self) -> None:
        """Answer in the next turn of the loop: what is written in this one is sent together."""
        if self._answering is None:
            self._answering = self._loop.call_soon(self._answer)

    def _answer(self) -> None:
        receiver = self._receiver
        self._stop_waiting()
        data = b"" if self._is_opened else frames.OPEN
        if self._payloads:
            data += frames.messages(self._payloads)
        if self._code is not None:
            data += frames.closing(self._code)
        self._is_opened = True
        self._payloads, self._payload_bytes = [], 0
        assert receiver is not None  # noqa: S101 (it waits)
        receiver.receive(Batch(data=data or frames.HEARTBEAT, is_last=self._code is not None))

    def _stop_waiting(self) -> None:
        self.is_waiting = False
        for handle in (self._answering, self._heartbeat):
            if handle is not None:
                handle.cancel()
        self._answering = self._heartbeat = None
        self.client.block()

    # The end -------------------------------------------------------------------------------------

    def _end_later(self, within_s: float) -> None:
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._end_timer = self._loop.call_later(within_s, self._end)

    def _end(self) -> None:
        self.client.leave()
        self._forget()


_ENDED: Final = Batch(data=b"", is_last=True)
