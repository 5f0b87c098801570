"""WebSocket in the live server: a protocol class for uvicorn's `ws=`, which writes to its asyncio transport itself.

    uvicorn mysite.asgi:application --ws telltale.server:WebSocketProtocol

Reach and limits as `websocket.py`. Cost: a frame is made once and the same bytes are written to all clients; a quiet
client is some 2 KiB of objects and no task. `websockets` parses handshakes and what clients send. The live address
is served here, registered addresses by their own protocols, and all others by uvicorn's own class. TCP detects
clients that vanished, so pings that ask for an answer are rare.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request
from websockets.protocol import Protocol
from websockets.server import ServerProtocol

from telltale.core.policy import ConnectionPolicy
from telltale.core.wire import INBOUND_BYTES
from telltale.live.access import is_live
from telltale.live.driver import driver
from telltale.server import routes
from telltale.server.client_protocol import client_address, enable_keepalive
from telltale.server.frames import closing_frame, text_frame
from telltale.server.handshake import live_handshake_response
from telltale.server.socket_protocol import MESSAGE_OPCODES, Parsers, SocketProtocol, is_fragment
from telltale.transports.base import Client
from telltale.transports.http import LiveRequest
from telltale.transports.websocket import ClientMessages

POLICY: Final = ConnectionPolicy(credit=262_144, ping_s=20.0, silence_s=150.0)

MAX_MESSAGE_BYTES: Final = 2 * INBOUND_BYTES
"""The parser's limit: a message above the protocol's own limit is still read, and answered with the reason."""


class WebSocketProtocol(SocketProtocol):
    """One client. Satisfies `transports.base.Outlet`: `write` is its asyncio transport's own."""

    __slots__ = ("_handshake", "_messages")

    parsers = Parsers(MAX_MESSAGE_BYTES)
    _client: Client | None

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        """As uvicorn calls it."""
        super().__init__(server_state)
        self._handshake: tuple[Config, dict[str, Any]] | None = (config, app_state)
        """What the handshake needs; None once it is over."""
        self._messages: ClientMessages | None = None

    # Called by uvicorn and the event loop --------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read the handshake, later the client's frames."""
        if self._handshake is not None:
            self._read_handshake(data, *self._handshake)
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has disconnected."""
        super().connection_lost(exc)
        self._messages = None

    # The handshake -------------------------------------------------------------------------------

    def _read_handshake(self, data: bytes, config: Config, app_state: dict[str, Any]) -> None:
        """Read a request that no protocol of ours has parsed already."""
        parser = self._parser = self._parser or ServerProtocol()
        parser.receive_data(data)
        for handshake in parser.events_received():
            if not isinstance(handshake, Request):
                continue
            path = handshake.path.partition("?")[0]
            headers = handshake.headers.raw_items()
            request = LiveRequest.from_headers(
                ((name.encode(), value.encode("latin-1", "replace")) for name, value in headers),
                is_secure=self._transport.get_extra_info("sslcontext") is not None,
            )
            self._parser = None
            if is_live(path, config.root_path):
                return self.open(handshake, request, config)
            if (make_socket := routes.find_socket(path, config.root_path)) is not None:
                return self._hand_over(make_socket(self._state), handshake, request, config)
            return self._hand_over_to_uvicorn(config, app_state, data)
        if parser.handshake_exc is not None or parser.parser_exc is not None:
            self._transport.close()

    def _hand_over(self, socket: SocketProtocol, handshake: Request, request: LiveRequest, config: Config) -> None:
        """Let another protocol of ours serve a socket of its address."""
        socket.connection_made(self._transport)
        # After this call uvicorn makes this protocol the transport's, so the other is set later.
        asyncio.get_running_loop().call_soon(self._transport.set_protocol, socket)
        socket.open(handshake, request, config)

    def _hand_over_to_uvicorn(self, config: Config, app_state: dict[str, Any], data: bytes) -> None:
        """Let uvicorn's own class serve a socket of another address."""
        uvicorn_protocol = WebSocketsSansIOProtocol(config=config, server_state=self._state, app_state=app_state)
        uvicorn_protocol.connection_made(self._transport)
        asyncio.get_running_loop().call_soon(self._transport.set_protocol, uvicorn_protocol)
        uvicorn_protocol.data_received(data)

    def open(self, handshake: Request, request: LiveRequest, config: Config) -> None:
        """Respond to a handshake for the live address; `request` holds the same headers."""
        self._handshake = None
        response = live_handshake_response(handshake, request)
        self._transport.write(response.serialize())
        if response.status_code != 101:
            return self._transport.close()
        enable_keepalive(self._transport)
        host = driver()
        self._client = host.open(POLICY, self, client_address(self._transport, request, config))
        self._messages, self._is_reading = ClientMessages(self._client), True
        self._state.connections.add(self)  # type: ignore[arg-type]
        if self._client.connection.closed is not None:
            self.end()

    # The client's frames -------------------------------------------------------------------------

    def _check(self, parser: Protocol, frames: Iterable[Frame]) -> None:
        """Refuse a message in several frames: those of a client are short, so it has no reason to send one."""
        if any(map(is_fragment, frames)):
            parser.fail(CloseCode.UNSUPPORTED_DATA, "send each message in one frame")

    def _handle_frame(self, frame: Frame) -> bool:
        if self._messages is None or not self._messages.allow():
            return False
        if frame.opcode in MESSAGE_OPCODES and frame.fin:
            self._messages.handle(bytes(frame.data))
        return True

    # The end -------------------------------------------------------------------------------------

    @property
    def _has_ended(self) -> bool:
        return self._client is None or self._client.connection.closed is not None

    def _drain(self) -> None:
        driver().drain()

    def end(self) -> None:
        """Send `bye` and a closing frame; a client that does not read is cut off instead."""
        if self._client is None or self._transport.is_closing():
            return
        connection = self._client.connection
        reason = connection.closed
        assert reason is not None  # noqa: S101 (it is called for closed connections only)
        if connection.is_blocked:
            return self._transport.abort()
        self._transport.write(text_frame(connection.bye()) + closing_frame(reason.code, reason.word))
        self._abort_later()
