"""WebSocket: the first choice of a browser. The ticket comes in the first message, acknowledgements after it.

Reach: every network that lets an upgrade through. Cost: one socket a page. Limits: the messages of a client are
bounded here in size and rate, because servers differ; pings and pongs are the server's own and do not come here. The
caller refuses the handshake of another site's page: no cookie opens a live connection, so this is defence in depth.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.core.policy import ConnectionPolicy
from telltale.core.protocol import VERSION
from telltale.core.reasons import Reason
from telltale.core.token_bucket import TokenBucket
from telltale.core.wire import Malformed, decode
from telltale.transports.asgi import AsgiOutlet, Message
from telltale.transports.base import Client, Hello, TransportHost
from telltale.transports.http import LiveRequest, Receive, Send

POLICY: Final = ConnectionPolicy()

RATE: Final = 20.0
"""Messages and control frames a second that a client may send in the long run."""
BURST: Final = 60.0
"""Messages and control frames that it may send at once."""


class MessageBucket(TokenBucket):
    """The rate limit of one client: all its messages and control frames."""

    __slots__ = ()

    rate, burst = RATE, BURST


async def websocket(request: LiveRequest, receive: Receive, send: Send, host: TransportHost) -> None:
    """Serve one socket; satisfies `Transport`. The caller has checked the origin."""
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    outlet = AsgiOutlet(send, _message, _last_messages)
    client = host.open(POLICY, outlet, request.address)
    outlet.open(client)
    messages = ClientMessages(client)
    try:
        while (event := await outlet.listen(receive))["type"] == "websocket.receive":
            if not messages.allow():
                break  # The server still holds other messages and drops them now: other clients get their turn.
            messages.handle(event.get("text") or event.get("bytes") or "")
    finally:
        client.leave()
        outlet.close()


class ClientMessages:
    """Handles the messages of one client, on any kind of socket; bounds their size and rate."""

    __slots__ = ("_bucket", "_client")

    def __init__(self, client: Client) -> None:
        self._client = client
        self._bucket = MessageBucket(filled_at=time.monotonic())

    def allow(self) -> bool:
        """Count one message or control frame; False, and the connection is closed, if that is one too many."""
        if self._bucket.spend(time.monotonic()):
            return True
        self._client.close(reasons.RATE)
        return False

    def handle(self, raw: str | bytes) -> None:
        """Handle one message that `allow` has let through. A wrong one closes the connection."""
        if self._client.connection.closed is not None:
            return
        reason = self._handle(raw)
        if reason is not None:
            self._client.close(reason)

    def _handle(self, raw: str | bytes) -> Reason | None:
        """Return why the connection must be closed, if it must."""
        try:
            message = decode(raw)
            if self._client.connection.grant is None:
                return self._handle_hello(message)
            match message:
                case {"type": "ack", "n": int(n)}:
                    self._client.ack(n)
                case {"type": "ticket", "ticket": ticket}:
                    self._client.admit(ticket)
                case _:
                    return reasons.MALFORMED
        except Malformed:
            return reasons.MALFORMED
        return None

    def _handle_hello(self, message: Mapping[str, Any]) -> Reason | None:
        if message.get("type") != "hello":
            return reasons.MALFORMED
        if message.get("v") != VERSION:
            return reasons.VERSION
        hello = Hello.read(message)
        self._client.admit(message.get("ticket"), hello.have, hello.seen)
        return None


def _message(text: str) -> Message:
    return {"type": "websocket.send", "text": text}


def _last_messages(connection: Connection) -> Iterable[Message]:
    reason = connection.closed
    assert reason is not None  # noqa: S101 (it is called for closed connections only)
    yield _message(connection.bye())
    yield {"type": "websocket.close", "code": reason.code, "reason": reason.word}
