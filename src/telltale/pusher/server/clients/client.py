"""One connection: its channels, its user, and when it is written to, asked for a sign of life, or closed.

Does no I/O of its own: it writes to an outlet, and the server's sweep calls `check` with the time. What a client
sends is handled in `client_messages.py`. A connection costs no task, no timer and no queue while its line takes
what is written.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from telltale.core.addresses import counted_address
from telltale.pusher.protocol import messages
from telltale.pusher.protocol.close_codes import NO_PONG, RESTARTING_LATER, TOO_SLOW, Code
from telltale.pusher.protocol.user_data import Member, User
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.clients.rate_limits import EventWindow, MessageBucket

PONG_S: Final = 30.0
"""Time for the answer to a ping; less for an app whose `activity_timeout_s` is less."""

BLOCKED_S: Final = 10.0
"""A client that takes nothing for this long is closed."""

QUEUED_BYTES: Final = 1_048_576
"""What may wait for a client that takes nothing; beyond that it is closed."""

MESSAGE_OVERHEAD: Final = 200
"""Bytes that a queued message costs beside its text."""


class Outlet(Protocol):
    """Writes to one client; called on the event loop, which it never blocks."""

    @property
    def form(self) -> Callable[[str], Any]:
        """Turns a message's text into what `write` takes; called once for all outlets that share it."""

    @property
    def write(self) -> Callable[[Any], object]:
        """Sends a formed message, and calls the client's `block` if the line is full. Harmless after a disconnect."""

    def attach(self, client: "PusherClient") -> None:
        """Called once, before anything is written."""

    def size(self, payload: Any) -> int:
        """Return about how many bytes a formed message has."""

    def end(self, code: Code) -> None:
        """Send what is waiting and a closing frame with this code and text, then end the line."""


class ClientHost(Protocol):
    """What a connection needs from its server."""

    def now(self) -> float:
        """Return the time, in seconds of a clock that never goes back."""

    def subscribe(self, client: "PusherClient", channel: str, member: Member | None) -> None:
        """Subscribe a client; its right to the channel is verified already; the answer is sent now or soon."""

    def unsubscribe(self, client: "PusherClient", channel: str) -> None:
        """End a subscription; harmless if there is none."""

    def sign_in(self, client: "PusherClient", user: User) -> None:
        """Make this verified user the client's."""

    def client_event(self, client: "PusherClient", name: str, channel: str, data: Any) -> None:
        """Send an event that the rules allow to the channel's other subscribers."""

    def disconnect(self, client: "PusherClient") -> None:
        """Forget a client; harmless when repeated."""


class PusherClient:
    """One connection. All methods are called on the event loop and return at once."""

    __slots__ = (
        "_blocked_at",
        "_is_blocked",
        "_outlet",
        "_pinged_at",
        "_queue",
        "_queued_bytes",
        "address",
        "app",
        "bucket",
        "channels",
        "closed",
        "due_at",
        "event_window",
        "form",
        "heard_at",
        "host",
        "is_open",
        "socket_id",
        "user",
        "write",
    )

    def __init__(self, host: ClientHost, app: PusherApp, outlet: Outlet, socket_id: str, address: str) -> None:
        self.host, self._outlet = host, outlet
        self.app, self.socket_id, self.address = app, socket_id, counted_address(address)
        self.form = outlet.form
        self.write: Callable[[Any], object] = outlet.write
        """Takes a formed message: sends it, queues it while the line is full, drops it once the client has gone."""
        self.is_open = True
        self.closed: Code | None = None
        """Why the server closed the connection, if it did."""
        self.channels: dict[str, Member | None] = {}
        """The subscribed channels; of a presence channel also the member that this connection is."""
        self.user: User | None = None
        now = host.now()
        self.bucket = MessageBucket(now)
        self.event_window: EventWindow | None = None
        """Limits its client events; made for the first."""
        self.heard_at = now
        self.due_at = now + app.activity_timeout_s
        """When `check` is called next."""
        self._pinged_at: float | None = None
        self._is_blocked = False
        self._blocked_at = 0.0
        self._queue: deque[Any] | None = None
        self._queued_bytes = 0

    # Writing -------------------------------------------------------------------------------------

    def send(self, text: str) -> None:
        """Send a message to this client alone."""
        self.write(self.form(text))

    def block(self) -> None:
        """Called by the outlet: the line takes nothing more, so queue what comes until `unblock`."""
        if not self.is_open or self._is_blocked:
            return
        self._is_blocked, self._blocked_at = True, self.host.now()
        self.due_at = min(self.due_at, self._blocked_at + BLOCKED_S)
        self.write = self._enqueue

    def unblock(self) -> None:
        """Called by the outlet: the line takes more."""
        if not self.is_open or not self._is_blocked:
            return
        self._is_blocked = False
        while self._queue and not self._is_blocked:
            payload = self._queue.popleft()
            self._queued_bytes -= self._cost(payload)
            self._outlet.write(payload)
        if not self._is_blocked:
            self._queue = None
            self.write = self._outlet.write

    def _enqueue(self, payload: Any) -> None:
        if self._queue is None:
            self._queue = deque()
        # The first message is always queued: an app may allow events of any size.
        if self._queue and self._queued_bytes + self._cost(payload) > QUEUED_BYTES:
            return self.close(TOO_SLOW)
        self._queue.append(payload)
        self._queued_bytes += self._cost(payload)

    def _cost(self, payload: Any) -> int:
        return self._outlet.size(payload) + MESSAGE_OVERHEAD

    # Signs of life -------------------------------------------------------------------------------

    def hear(self) -> None:
        """Anything came from the client."""
        self.heard_at = self.host.now()
        self._pinged_at = None

    def check(self, now: float) -> None:
        """Send a ping or close, if one of them is due, and set `due_at`."""
        if self._is_blocked and now >= self._blocked_at + BLOCKED_S:
            return self.close(TOO_SLOW)
        timeout_s = self.app.activity_timeout_s
        if self._pinged_at is not None:
            self.due_at = self._pinged_at + min(PONG_S, timeout_s)
            if now >= self.due_at:
                return self.close(NO_PONG)
        elif now >= self.heard_at + timeout_s:
            self._pinged_at = now
            self.due_at = now + min(PONG_S, timeout_s)
            self.send(messages.ping())
        else:
            self.due_at = self.heard_at + timeout_s
        if self._is_blocked:
            self.due_at = min(self.due_at, self._blocked_at + BLOCKED_S)

    # The end -------------------------------------------------------------------------------------

    def close(self, code: Code) -> None:
        """Close the connection with a closing frame; the first code stands."""
        if not self.is_open:
            return
        self.closed = code
        queue = self._queue if code is not TOO_SLOW else None
        self.leave()
        for payload in queue or ():
            self._outlet.write(payload)
        self._outlet.end(code)

    def drain(self) -> None:
        """Close the connection because its server is going away."""
        self.close(RESTARTING_LATER)

    def leave(self) -> None:
        """The client has disconnected, and nothing more is written. Always call it; harmless when repeated."""
        if not self.is_open:
            return
        self.is_open = False
        self.write = _drop
        self._queue = None
        self.host.disconnect(self)


def _drop(_payload: Any) -> None:
    """Takes messages for a client that has gone."""
