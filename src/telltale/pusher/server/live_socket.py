"""WebSocket connections of Pusher's clients in the live server, without ASGI: the same bytes are written to all.

Rules, limits and codes as `websocket.py`, which other servers use. Cost: a frame is made once for all subscribers of a
channel; a quiet connection is about 2 KiB of objects and no task. TCP detects clients that vanished; clients that only
fell silent are asked by the protocol's own pings.
"""

import asyncio
from typing import Final

from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request

from telltale.pusher.app_registry import registry
from telltale.pusher.protocol.close_codes import Code
from telltale.pusher.server.clients.client import PusherClient
from telltale.pusher.server.clients.client_messages import allow
from telltale.pusher.server.clients.client_messages import receive as handle_message
from telltale.pusher.server.server import pusher_server
from telltale.pusher.server.websocket import known_app
from telltale.server.client_protocol import client_address, enable_keepalive, is_secure
from telltale.server.frames import closing_frame
from telltale.server.handshake import handshake_response
from telltale.server.socket_protocol import LINGER_S, MESSAGE_OPCODES, Parsers, SocketProtocol, is_fragment
from telltale.transports.http import LiveRequest

MESSAGE_BYTES: Final = 4_194_304
"""The largest message of a client that is read at all; a much smaller one is refused already, without a close."""

SLOW_LINGER_S: Final = 30.0
"""More time for a client that is behind to read what was written, with the closing frame after it."""

INVALID_TEXT: Final = Code(CloseCode.INVALID_DATA, "The text of a message is not valid UTF-8.")


class LiveSocket(SocketProtocol):
    """One connection. Satisfies `client.Outlet`: `write` is its asyncio transport's own."""

    __slots__ = ("_fragments", "_key")

    parsers = Parsers(MESSAGE_BYTES)
    size = staticmethod(len)
    _client: PusherClient | None

    def __init__(self, server_state: ServerState, key: str) -> None:
        """`key`: of the app, from the path."""
        super().__init__(server_state)
        self._key = key
        self._fragments: list[Frame] | None = None
        """Of a message that is not complete yet."""

    # The handshake -------------------------------------------------------------------------------

    def open(self, handshake: Request, request: LiveRequest, config: Config) -> None:
        """Accept the connection, and close it with a code if it can't be served."""
        response = handshake_response(handshake)
        self._transport.write(response.serialize())
        if response.status_code != 101:
            return self._transport.close()
        enable_keepalive(self._transport)
        self._state.connections.add(self)  # type: ignore[arg-type]
        query = handshake.path.partition("?")[2].encode("latin-1")
        is_tls = is_secure(self._transport, handshake.headers.get("X-Forwarded-Proto", ""), config)
        address = client_address(self._transport, request, config)
        if registry().are_known:
            return self._connect(query, address, is_tls=is_tls)
        self._transport.pause_reading()
        waiting = asyncio.ensure_future(self._connect_later(query, address, is_tls=is_tls))
        self._state.tasks.add(waiting)
        waiting.add_done_callback(self._state.tasks.discard)

    async def _connect_later(self, query: bytes, address: str, *, is_tls: bool) -> None:
        """Wait until the apps are known."""
        await registry().wait()
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self._connect(query, address, is_tls=is_tls)

    def _connect(self, query: bytes, address: str, *, is_tls: bool) -> None:
        self._is_reading = True
        app = known_app(self._key, query, is_secure=is_tls)
        if isinstance(app, Code):
            self.end(app)
        else:
            pusher_server().connect(app, self, address=address)

    def attach(self, client: PusherClient) -> None:
        """Called by the server, before anything is written."""
        self._client = client

    # The client's frames -------------------------------------------------------------------------

    def _handle_frame(self, frame: Frame) -> bool:
        client = self._client
        if client is None:  # It was refused, and only has to answer the closing frame.
            return frame.opcode is Opcode.CLOSE
        if not client.is_open:
            return client.bucket.spend(client.host.now())
        if is_fragment(frame):
            return self._handle_fragment(client, frame)
        if frame.opcode in MESSAGE_OPCODES:
            return self._handle_message(client, frame.opcode, frame.data)
        return allow(client)

    def _handle_fragment(self, client: PusherClient, frame: Frame) -> bool:
        """Keep a part of a message, whose size the parser limits; handle the message after its last part."""
        fragments = self._fragments = self._fragments or []
        fragments.append(frame)
        if not frame.fin:
            return allow(client)
        self._fragments = None
        return self._handle_message(client, fragments[0].opcode, b"".join(part.data for part in fragments))

    def _handle_message(self, client: PusherClient, opcode: Opcode, data: bytes | bytearray | memoryview) -> bool:
        """Return whether more may be read: also the answer to a closing frame, but nothing after too many messages."""
        try:
            message = str(data, "utf-8") if opcode is Opcode.TEXT else bytes(data)
        except UnicodeDecodeError:
            client.close(INVALID_TEXT)
            return True
        return handle_message(client, message) or client.bucket.tokens >= 1

    # The end -------------------------------------------------------------------------------------

    @property
    def _has_ended(self) -> bool:
        return self._client is None or not self._client.is_open

    def end(self, code: Code) -> None:
        """Send a closing frame after all that was written."""
        if self._transport.is_closing():
            return
        self._transport.write(closing_frame(code.number, code.text))
        asyncio.get_running_loop().call_later(LINGER_S, self._end_line)

    def _end_line(self) -> None:
        self._transport.close()
        if self._transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(SLOW_LINGER_S, self._transport.abort)

    def _drain(self) -> None:
        if self._client is not None and self._client.is_open:  # Else the server may be gone already.
            pusher_server().drain()
