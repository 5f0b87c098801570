"""Server-sent events as the live server has them: a protocol class for uvicorn's `http=`, that takes streams over.

Reach and limits as `sse.py`. A request for the live address that asks for an event stream gets a protocol of its
own, which writes bytes that all streams share; every other request is uvicorn's. Cost: some 2 KiB of objects a
stream, and no task.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from telltale.core import reasons
from telltale.core.wire import INBOUND_BYTES, Malformed
from telltale.live.access import is_known_host, is_live
from telltale.live.driver import driver
from telltale.server.client_protocol import ClientProtocol, client_of, mind_the_gone
from telltale.server.frames import LAST_CHUNK, chunk, event_chunk
from telltale.server.websocket_protocol import WebSocketProtocol
from telltale.transports.base import STATUS, Follower, Hello
from telltale.transports.http import Scope, bearer, header
from telltale.transports.sse import HEADERS, OPENING, POLICY, event_of

_CHUNKED: Final = [*HEADERS, (b"transfer-encoding", b"chunked")]
_UNTIL_CLOSED: Final = [*HEADERS, (b"connection", b"close")]


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, but for requests that ask for a stream, or a socket, of the live address."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], **more: Any) -> None:
        super().__init__(config, server_state, app_state, **more)
        self._hello: bytearray | None = None
        """The body of a request for a stream, as far as it has come."""
        self._impatience: asyncio.TimerHandle | None = None
        self._has_gone_over = False

    def on_headers_complete(self) -> None:
        """uvicorn's parser calls it."""
        if self._has_gone_over:
            return
        if not self._asks_for_stream():
            return super().on_headers_complete()
        self._hello = bytearray()
        self._impatience = self.loop.call_later(POLICY.admit_s, self.transport.abort)
        if self.expect_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """uvicorn's parser calls it."""
        if self._has_gone_over:
            return
        if self._hello is None:
            super().on_body(body)
        elif len(self._hello) <= INBOUND_BYTES:
            self._hello += body

    def on_message_complete(self) -> None:
        """uvicorn's parser calls it."""
        if self._has_gone_over:
            return
        if self._hello is None:
            super().on_message_complete()
        else:
            self._take_over(bytes(self._hello))

    def handle_websocket_upgrade(self) -> None:
        """uvicorn's own way is to have the request read a second time."""
        if self._has_gone_over:
            return
        path = self.url.partition(b"?")[0].decode("latin-1")
        if self.config.ws_protocol_class is not WebSocketProtocol or not is_live(path, self.root_path):
            return super().handle_websocket_upgrade()
        if self.parser.get_method() != b"GET":
            return self.send_400_response("A WebSocket is asked for by GET.")
        self.connections.discard(self)
        live = WebSocketProtocol(self.config, self.server_state, self.app_state)
        live.connection_made(self.transport)
        self.transport.set_protocol(live)
        live.open({"headers": self.headers}, self.config)

    def send_400_response(self, msg: str) -> None:
        """What follows a request for a stream, in the same breath, is not read: also not as a bad request."""
        if not self._has_gone_over:
            super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone before it had said all."""
        if self._impatience is not None:
            self._impatience.cancel()
        super().connection_lost(exc)

    def _asks_for_stream(self) -> bool:
        path = self.url.partition(b"?")[0].decode("latin-1")
        return (
            self.parser.get_method() in {b"GET", b"POST"}
            and (self.cycle is None or self.cycle.response_complete)  # type: ignore[redundant-expr]  # uvicorn begins with None
            and is_live(path, self.root_path)
            and "text/event-stream" in header({"headers": self.headers}, b"accept")
            and is_known_host({"headers": self.headers})
            and not (self.parser.should_upgrade() and self._should_upgrade())
            # Whoever has not read the answer before: that writing is held up was told to another protocol.
            and not self.transport.get_write_buffer_size()
        )

    def _take_over(self, body: bytes) -> None:
        self._has_gone_over = True
        self._unset_keepalive_if_required()
        if self._impatience is not None:
            self._impatience.cancel()
        stream = StreamProtocol(self.transport, self.server_state, is_chunked=self.parser.get_http_version() != "1.0")
        self.connections.discard(self)
        self.transport.set_protocol(stream)
        stream.open({"headers": self.headers}, body, self.config)


class StreamProtocol(ClientProtocol):
    """One stream. Satisfies `transports.base.Outlet`: `write` is its transport's own."""

    __slots__ = ("_is_chunked", "form", "write")

    def __init__(self, transport: asyncio.Transport, server_state: ServerState, *, is_chunked: bool) -> None:
        super().__init__(server_state)
        self._transport = transport
        self._is_chunked = is_chunked
        self.form: Callable[[str], bytes] = event_chunk if is_chunked else event_of
        self.write: Callable[[bytes], object] = transport.write
        server_state.connections.add(self)  # type: ignore[arg-type]

    def open(self, scope: Scope, body: bytes, config: Config) -> None:
        """Answer the request: by the stream's beginning, or by why there is none."""
        follower = driver().open(POLICY, self, client_of(self._transport, scope, config))
        try:
            hello = Hello.from_body(body)
        except Malformed:
            follower.close(reasons.MALFORMED)
        else:
            follower.admit(bearer(header(scope, b"authorization")), hello.have, hello.seen)
        if follower.connection.closed is not None:
            self._refuse(follower)
            return
        mind_the_gone(self._transport)
        opening = OPENING.encode()
        headers = _CHUNKED if self._is_chunked else _UNTIL_CLOSED
        self._transport.write(_head(HTTPStatus.OK, [*self._state.default_headers, *headers]))
        self._transport.write(chunk(opening) if self._is_chunked else opening)
        self._follower = follower

    def _refuse(self, follower: Follower) -> None:
        reason = follower.connection.closed
        assert reason is not None  # noqa: S101 (that is why it is called)
        text = follower.connection.farewell().encode()
        headers = [
            *self._state.default_headers,
            (b"content-type", b"application/json; charset=utf-8"),
            (b"content-length", str(len(text)).encode()),
            (b"cache-control", b"no-store, private"),
            (b"connection", b"close"),
        ]
        self._transport.write(_head(HTTPStatus(STATUS.get(reason, 400)), headers) + text)
        self._transport.close()
        follower.leave()

    # What the event loop and uvicorn call --------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """A client has nothing to say on a stream; what it says all the same is not kept."""

    # The end -------------------------------------------------------------------------------------

    def end(self) -> None:
        """See the contract."""
        if self._follower is None or self._transport.is_closing():
            return
        connection = self._follower.connection
        if connection.is_blocked:
            return self._transport.abort()
        self._transport.write(self.form(connection.farewell()) + (LAST_CHUNK if self._is_chunked else b""))
        self._transport.close()


def _head(status: HTTPStatus, headers: list[tuple[bytes, bytes]]) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), *(b"%b: %b" % pair for pair in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"
