"""Server-sent events in the live server: a protocol class for uvicorn's `http=`, which takes over event streams.

    uvicorn mysite.asgi:application --http telltale.server:HttpProtocol

Reach and limits as `sse.py`. A request for an event stream of the live address gets a protocol of its own, which
writes bytes that all streams share; uvicorn serves all other requests. Cost: some 2 KiB of objects a stream, no task.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.server import ServerState

from telltale import conf
from telltale.core import origins
from telltale.core.wire import INBOUND_BYTES
from telltale.live.access import is_known_host, is_live
from telltale.live.driver import driver
from telltale.server.client_protocol import ClientProtocol, client_address, enable_keepalive
from telltale.server.frames import LAST_CHUNK, chunk, event_chunk
from telltale.server.routes import MakeSocket
from telltale.server.socket_protocol import SocketProtocol
from telltale.server.upgrade_protocol import UpgradeProtocol
from telltale.server.websocket_protocol import WebSocketProtocol
from telltale.transports.base import Client, admit, http_status
from telltale.transports.http import LiveRequest
from telltale.transports.sse import HEADERS, OPENING, POLICY, event_bytes

_CHUNKED_HEADERS: Final = [*HEADERS, (b"transfer-encoding", b"chunked")]
_UNCHUNKED_HEADERS: Final = [*HEADERS, (b"connection", b"close")]


class HttpProtocol(UpgradeProtocol):
    """uvicorn's protocol, except for requests for a stream or a socket of the live address."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], **more: Any) -> None:
        super().__init__(config, server_state, app_state, **more)
        self._stream_request: LiveRequest | None = None
        """A request for a stream, while its body is received."""
        self._body = bytearray()
        """The body of that request, as far as it was received."""
        self._body_timeout: asyncio.TimerHandle | None = None
        self._is_handed_over = False

    # Called by uvicorn's parser ------------------------------------------------------------------

    def on_headers_complete(self) -> None:
        """Decide who serves the request."""
        if self._is_handed_over:
            return
        self._stream_request = self._parse_stream_request()
        if self._stream_request is None:
            return super().on_headers_complete()
        self._is_head_complete = True
        self._stop_timer()
        self._body_timeout = self.loop.call_later(POLICY.admit_s, self.transport.abort)
        if self.expect_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Collect the body of a request for a stream; one that is too long is refused when it is complete."""
        if self._is_handed_over:
            return
        if self._stream_request is None:
            super().on_body(body)
        elif len(self._body) <= INBOUND_BYTES:
            self._body += body

    def on_message_complete(self) -> None:
        """Begin the stream."""
        if self._is_handed_over:
            return
        if self._stream_request is None:
            super().on_message_complete()
        else:
            self._hand_over(self._stream_request)

    # Called by uvicorn ---------------------------------------------------------------------------

    def handle_websocket_upgrade(self) -> None:
        """Serve a socket, but ignore a request for one that follows a request for a stream on the same line."""
        if not self._is_handed_over:
            super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Refuse a bad request, but ignore what follows a request for a stream on the same line."""
        if not self._is_handed_over:
            super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client disconnected before its request was complete."""
        if self._body_timeout is not None:
            self._body_timeout.cancel()
        super().connection_lost(exc)

    # Sockets -------------------------------------------------------------------------------------

    def _find_socket(self) -> MakeSocket | None:
        if self.config.ws_protocol_class is WebSocketProtocol and is_live(self._path, self.root_path):
            return self._make_live_socket
        return super()._find_socket()

    def _make_live_socket(self, server_state: ServerState) -> SocketProtocol:
        return WebSocketProtocol(self.config, server_state, self.app_state)

    # Streams -------------------------------------------------------------------------------------

    def _parse_stream_request(self) -> LiveRequest | None:
        """Return the request if it is one for a stream of the live address, which is served here."""
        if self.parser.get_method() not in {b"GET", b"POST"} or not is_live(self._path, self.root_path):
            return None
        if self.parser.should_upgrade() and self._should_upgrade():
            return None
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]  # uvicorn begins with None
            return None
        if self.flow.write_paused:
            # The client has not read the previous response: `resume_writing` would be called on the next protocol.
            return None
        request = LiveRequest.from_headers(self.headers, is_secure=self.scheme == "https")
        return request if request.wants_event_stream and is_known_host(request) else None

    def _hand_over(self, request: LiveRequest) -> None:
        self._is_handed_over = True
        self._unset_keepalive_if_required()
        if self._body_timeout is not None:
            self._body_timeout.cancel()
        stream = StreamProtocol(self.transport, self.server_state, is_chunked=self.parser.get_http_version() != "1.0")
        self.connections.discard(self)
        self.transport.set_protocol(stream)
        stream.open(request, bytes(self._body), self.config)


class StreamProtocol(ClientProtocol):
    """One stream. Satisfies `transports.base.Outlet`: `write` is its asyncio transport's own."""

    __slots__ = ("_is_chunked", "form", "write")

    _client: Client | None

    def __init__(self, transport: asyncio.Transport, server_state: ServerState, *, is_chunked: bool) -> None:
        super().__init__(server_state)
        self._transport = transport
        self._is_chunked = is_chunked
        self.form: Callable[[str], bytes] = event_chunk if is_chunked else event_bytes
        self.write: Callable[[bytes], object] = transport.write
        server_state.connections.add(self)  # type: ignore[arg-type]

    def open(self, request: LiveRequest, body: bytes, config: Config) -> None:
        """Send the beginning of the stream, or the reason why the client is refused."""
        client = driver().open(POLICY, self, client_address(self._transport, request, config))
        if admit(client, request.ticket, body) is None:
            return self._refuse(client, request)
        enable_keepalive(self._transport)
        opening = OPENING.encode()
        headers = _CHUNKED_HEADERS if self._is_chunked else _UNCHUNKED_HEADERS
        for_origin = _headers_for_origin(request)
        self._transport.write(_response_head(HTTPStatus.OK, [*self._state.default_headers, *headers, *for_origin]))
        self._transport.write(chunk(opening) if self._is_chunked else opening)
        self._client = client

    def _refuse(self, client: Client, request: LiveRequest) -> None:
        reason = client.connection.closed
        assert reason is not None  # noqa: S101 (it is called for closed connections only)
        body = client.connection.bye().encode()
        headers = [
            *self._state.default_headers,
            (b"content-type", b"application/json; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store, private"),
            (b"connection", b"close"),
            *_headers_for_origin(request),
        ]
        self._transport.write(_response_head(HTTPStatus(http_status(reason)), headers) + body)
        self._transport.close()
        client.leave()

    def data_received(self, data: bytes) -> None:
        """Ignore what a client sends after its request."""

    def _drain(self) -> None:
        driver().drain()

    def end(self) -> None:
        """Send `bye` and close the line; a client that does not read is cut off instead."""
        if self._client is None or self._transport.is_closing():
            return
        connection = self._client.connection
        if connection.is_blocked:
            return self._transport.abort()
        self._transport.write(self.form(connection.bye()) + (LAST_CHUNK if self._is_chunked else b""))
        self._transport.close()


def _headers_for_origin(request: LiveRequest) -> list[tuple[bytes, bytes]]:
    return origins.encoded(origins.cors_headers(request.origin, conf.settings().allowed_origins))


def _response_head(status: HTTPStatus, headers: list[tuple[bytes, bytes]]) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), *(b"%b: %b" % pair for pair in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"
