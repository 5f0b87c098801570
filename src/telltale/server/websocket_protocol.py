"""WebSocket in the live server: a protocol class for uvicorn's `ws=`, which writes to its asyncio transport itself.

    uvicorn mysite.asgi:application --ws telltale.server:WebSocketProtocol

Reach and limits as `websocket.py`. Cost: a frame is made once and the same bytes are written to all clients; a quiet
client is some 2 KiB of objects and no task. `websockets` parses handshakes and what clients send. The live address
is served here, uvicorn's own class serves all others. TCP detects clients that vanished, so pings that ask for an
answer are rare.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from telltale.core.policy import ConnectionPolicy
from telltale.core.wire import INBOUND_BYTES
from telltale.live.access import is_live
from telltale.live.driver import driver
from telltale.server.client_protocol import ClientProtocol, client_address, enable_keepalive
from telltale.server.frames import holds_whole_messages, text_frame
from telltale.server.handshake import handshake_response
from telltale.transports.http import LiveRequest
from telltale.transports.websocket import ClientMessages

POLICY: Final = ConnectionPolicy(credit=262_144, ping_s=20.0, silence_s=150.0)

MAX_MESSAGE_BYTES: Final = 2 * INBOUND_BYTES
"""The parser's limit: a message above the protocol's own limit is still read, and answered with the reason."""

SLICE_BYTES: Final = 512
"""Bytes from a client that are parsed before its rate limit is checked: 85 of the smallest frames."""

LINGER_S: Final = 5.0
"""Time for a client to read the last message and to answer the closing frame."""


class WebSocketProtocol(ClientProtocol):
    """One client. Satisfies `transports.base.Outlet`: `write` is its asyncio transport's own."""

    __slots__ = ("_handshake", "_messages", "_parser", "write")

    form = staticmethod(text_frame)

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        """As uvicorn calls it."""
        super().__init__(server_state)
        self._handshake: tuple[Config, dict[str, Any]] | None = (config, app_state)
        """What the handshake needs; None once it is over."""
        self._parser: Protocol | None = None
        self._messages: ClientMessages | None = None
        self.write: Callable[[bytes], object]

    # Called by uvicorn and the event loop --------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Prepare for the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        if self._transport.get_write_buffer_size():
            # The client has not read the previous response: `pause_writing` was called on another protocol.
            self._transport.abort()
        self.write = self._transport.write

    def data_received(self, data: bytes) -> None:
        """Read the handshake, later the client's frames."""
        if self._handshake is not None:
            self._read_handshake(data, *self._handshake)
        else:
            self._read(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has disconnected."""
        super().connection_lost(exc)
        self._messages = self._parser = None

    # The handshake -------------------------------------------------------------------------------

    def _read_handshake(self, data: bytes, config: Config, app_state: dict[str, Any]) -> None:
        """Read a request that `HttpProtocol` has not parsed already."""
        parser = self._parser = self._parser or ServerProtocol()
        parser.receive_data(data)
        for handshake in parser.events_received():
            if not isinstance(handshake, Request):
                continue
            if not is_live(handshake.path.partition("?")[0], config.root_path):
                return self._hand_over_to_uvicorn(config, app_state, data)
            self._parser = None
            headers = handshake.headers.raw_items()
            request = LiveRequest.from_headers(
                (name.encode(), value.encode("latin-1", "replace")) for name, value in headers
            )
            return self.open(handshake, request, config)
        if parser.handshake_exc is not None or parser.parser_exc is not None:
            self._transport.close()

    def _hand_over_to_uvicorn(self, config: Config, app_state: dict[str, Any], data: bytes) -> None:
        """Let uvicorn's own class serve a socket of another address."""
        uvicorn_protocol = WebSocketsSansIOProtocol(config=config, server_state=self._state, app_state=app_state)
        uvicorn_protocol.connection_made(self._transport)
        # After this call uvicorn makes this protocol the transport's, so the other is set later.
        asyncio.get_running_loop().call_soon(self._transport.set_protocol, uvicorn_protocol)
        uvicorn_protocol.data_received(data)

    def open(self, handshake: Request, request: LiveRequest, config: Config) -> None:
        """Respond to a handshake for the live address; `request` holds the same headers."""
        self._handshake = None
        response = handshake_response(handshake, request)
        self._transport.write(response.serialize())
        if response.status_code != 101:
            return self._transport.close()
        enable_keepalive(self._transport)
        host = driver()
        self._client = host.open(POLICY, self, client_address(self._transport, request, config))
        self._messages = ClientMessages(self._client, host)
        self._state.connections.add(self)  # type: ignore[arg-type]
        if self._client.connection.closed is not None:
            self.end()

    # The client's frames -------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        """Read frames, of which `data` may hold tens of thousands, but no more than the rate limit allows."""
        if self._messages is None:
            return
        if self._parser is None and holds_whole_messages(data):
            self._read_slice(_shared_parser, data)
            return
        # The beginning of a frame has to be kept until its rest comes, so this client gets a parser of its own.
        parser = self._parser = self._parser or _new_parser()
        for start in range(0, len(data), SLICE_BYTES):
            if not self._read_slice(parser, data[start : start + SLICE_BYTES]):
                return

    def _read_slice(self, parser: Protocol, data: bytes) -> bool:
        """Parse and handle some data; return whether more may be read."""
        global _shared_parser
        parser.receive_data(data)
        frames: list[Any] = parser.events_received()
        if any(_is_fragment(frame) for frame in frames):
            # The messages of a client are short: it has no reason to send one in several frames.
            parser.fail(CloseCode.UNSUPPORTED_DATA, "send each message in one frame")
        answer = b"".join(parser.data_to_send())
        is_over = parser.state is not State.OPEN or parser.parser_exc is not None
        # Nothing of this client may stay in the parser that others share.
        if is_over and parser is _shared_parser:
            _shared_parser = _new_parser()
        self._handle(frames)
        self._answer(answer, is_over=is_over)
        return self._messages is not None

    def _handle(self, frames: list[Frame]) -> None:
        """Handle frames; all kinds count for the rate limit, for a ping costs as much as a message."""
        for frame in frames:
            if self._messages is None:
                return
            if not self._messages.allow():
                return self._stop_reading()
            if frame.opcode in _MESSAGE_OPCODES and frame.fin:
                self._messages.handle(bytes(frame.data))

    def _stop_reading(self) -> None:
        """The client has sent too much and was told so: its further data stays in the kernel until the line is cut."""
        self._messages = None
        if self._transport.is_closing():
            return
        self._transport.pause_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _answer(self, answer: bytes, *, is_over: bool) -> None:
        """Send the WebSocket protocol's own answer, such as a pong, unless the last message was sent already."""
        if self._client is None:
            return
        if answer and self._client.connection.closed is None:
            self._transport.write(answer)
        if is_over:
            self._messages = None
            self._client.leave()
            self._transport.close()
            self._abort_later()

    # The end -------------------------------------------------------------------------------------

    def end(self) -> None:
        """Send `bye` and a closing frame; a client that does not read is cut off instead."""
        if self._client is None or self._transport.is_closing():
            return
        connection = self._client.connection
        reason = connection.closed
        assert reason is not None  # noqa: S101 (it is called for closed connections only)
        if connection.is_blocked:
            return self._transport.abort()
        closing = Frame(Opcode.CLOSE, reason.code.to_bytes(2, "big") + reason.word.encode())
        self._transport.write(text_frame(connection.bye()) + closing.serialize(mask=False))
        self._abort_later()

    def _abort_later(self) -> None:
        asyncio.get_running_loop().call_later(LINGER_S, self._transport.abort)


_MESSAGE_OPCODES: Final = (Opcode.TEXT, Opcode.BINARY)


def _is_fragment(frame: Frame) -> bool:
    return frame.opcode is Opcode.CONT or (frame.opcode in _MESSAGE_OPCODES and not frame.fin)


def _new_parser() -> Protocol:
    return Protocol(Side.SERVER, max_size=MAX_MESSAGE_BYTES)


_shared_parser = _new_parser()
"""Parses the whole messages of all clients: between two messages a parser keeps no state."""
