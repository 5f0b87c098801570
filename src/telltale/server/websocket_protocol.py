"""WebSocket as the live server has it: a protocol class for uvicorn's `ws=`, that owns its transport.

    uvicorn mysite.asgi:application --ws telltale.server:WebSocketProtocol

Reach and limits as `websocket.py`. Cost: a frame is built once and the same bytes are written to all; a quiet
client is some 2 KiB of objects and no task. Handshakes and what clients send are read by `websockets`; the live
address is served here, every other goes to uvicorn's own class. Dead clients behind a line that says nothing are
found by TCP itself, so pings ask for an answer only now and then.
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
from telltale.server.client_protocol import ClientProtocol, client_of, mind_the_gone
from telltale.server.frames import are_whole, text_frame
from telltale.server.handshake import Refused, welcome
from telltale.transports.base import Server
from telltale.transports.http import Scope
from telltale.transports.websocket import Listener

POLICY: Final = ConnectionPolicy(credit=262_144, ping_s=20.0, silence_s=150.0)

MOST_BYTES: Final = 2 * INBOUND_BYTES
"""Of one message: one that is too long for the protocol is still read, and answered with the reason."""

SLICE_BYTES: Final = 512
"""So much is read of what a client sends before its allowance is looked at: 85 of the smallest frames."""

LINGER_S: Final = 5.0
"""How long a client may take to read the last words, and to answer a closing frame."""


class WebSocketProtocol(ClientProtocol):
    """One client. Satisfies `transports.base.Outlet`: `write` is its transport's own."""

    __slots__ = ("_handshake", "_listener", "_parser", "write")

    form = staticmethod(text_frame)

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        """As uvicorn calls it."""
        super().__init__(server_state)
        self._handshake: tuple[Config, dict[str, Any]] | None = (config, app_state)
        self._parser: Protocol | None = None
        self._listener: Listener | None = None
        self.write: Callable[[bytes], object]

    # What uvicorn and the event loop call --------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake follows."""
        self._transport = cast(asyncio.Transport, transport)
        if self._transport.get_write_buffer_size():
            # It has not read the answer to what it asked before; that writing is held up was told to another.
            self._transport.abort()
        self.write = self._transport.write

    def data_received(self, data: bytes) -> None:
        """The handshake, later what the client says."""
        if self._handshake is not None:
            self._shake_hands(data, *self._handshake)
        else:
            self._read(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        super().connection_lost(exc)
        self._listener = self._parser = None

    # The handshake -------------------------------------------------------------------------------

    def _shake_hands(self, data: bytes, config: Config, app_state: dict[str, Any]) -> None:
        """A request that nobody has read for us."""
        parser = self._parser = self._parser or ServerProtocol()
        parser.receive_data(data)
        for request in parser.events_received():
            if not isinstance(request, Request):
                continue
            if not is_live(request.path.partition("?")[0], config.root_path):
                return self._hand_over(config, app_state, data)
            self._parser = None
            headers = [
                (name.lower().encode(), value.encode("latin-1", "replace"))
                for name, value in request.headers.raw_items()
            ]
            return self.open({"headers": headers}, config)
        if parser.handshake_exc is not None or parser.parser_exc is not None:
            self._transport.close()

    def _hand_over(self, config: Config, app_state: dict[str, Any], data: bytes) -> None:
        """Another address: uvicorn's own class serves it."""
        other = WebSocketsSansIOProtocol(config=config, server_state=self._state, app_state=app_state)
        other.connection_made(self._transport)
        # After this call uvicorn sets this one as the transport's protocol: so not before it has.
        asyncio.get_running_loop().call_soon(self._transport.set_protocol, other)
        other.data_received(data)

    def open(self, scope: Scope, config: Config) -> None:
        """Answer a handshake for the live address, whose headers are in `scope`."""
        self._handshake = None
        try:
            self._transport.write(welcome(scope))
        except Refused as refusal:
            self._transport.write(refusal.answer)
            return self._transport.close()
        mind_the_gone(self._transport)
        server: Server = driver()
        self._follower = server.open(POLICY, self, client_of(self._transport, scope, config))
        self._listener = Listener(self._follower, server)
        self._state.connections.add(self)  # type: ignore[arg-type]
        if self._follower.connection.closed is not None:
            self.end()

    # What the client says ------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        """What the event loop has read, which may be tens of thousands of frames: no more of it than is allowed."""
        if self._listener is None:
            return
        if self._parser is None and are_whole(data):
            self._read_slice(_shared, data)
            return
        # It has to remember the beginning until the rest has come.
        parser = self._parser = self._parser or _fresh()
        for at in range(0, len(data), SLICE_BYTES):
            if not self._read_slice(parser, data[at : at + SLICE_BYTES]):
                return

    def _read_slice(self, parser: Protocol, data: bytes) -> bool:
        """Whether more is to be read."""
        global _shared
        parser.receive_data(data)
        frames: list[Any] = parser.events_received()
        if any(_is_piece(frame) for frame in frames):
            # No client has reason to send its short messages in pieces.
            parser.fail(CloseCode.UNSUPPORTED_DATA, "messages in one frame each, please")
        answer = b"".join(parser.data_to_send())
        is_over = parser.state is not State.OPEN or parser.parser_exc is not None
        # From here on nothing of this client is left with a parser that others share, whatever it has said.
        if is_over and parser is _shared:
            _shared = _fresh()
        self._hear(frames)
        self._answer(answer, is_over=is_over)
        return self._listener is not None

    def _hear(self, frames: list[Frame]) -> None:
        """All kinds of frames count: a ping costs as much as a message."""
        for frame in frames:
            if self._listener is None:
                return
            if not self._listener.takes():
                return self._stop_reading()
            if frame.opcode in _MESSAGES and frame.fin:
                self._listener.hear(bytes(frame.data))

    def _stop_reading(self) -> None:
        """It has sent too much, and was told so: what else it sends stays with its kernel until it is cut."""
        self._listener = None
        if self._transport.is_closing():
            return
        self._transport.pause_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _answer(self, answer: bytes, *, is_over: bool) -> None:
        """What the protocol itself has to say; after the farewell no more of it."""
        if self._follower is None:
            return
        if answer and self._follower.connection.closed is None:
            self._transport.write(answer)
        if is_over:
            self._listener = None
            self._follower.leave()
            self._transport.close()
            self._cut_later()

    # The end -------------------------------------------------------------------------------------

    def end(self) -> None:
        """See the contract."""
        if self._follower is None or self._transport.is_closing():
            return
        connection = self._follower.connection
        reason = connection.closed
        assert reason is not None  # noqa: S101 (that is why it is called)
        if connection.is_blocked:
            return self._transport.abort()
        closing = Frame(Opcode.CLOSE, reason.code.to_bytes(2, "big") + reason.word.encode())
        self._transport.write(text_frame(connection.farewell()) + closing.serialize(mask=False))
        self._cut_later()

    def _cut_later(self) -> None:
        asyncio.get_running_loop().call_later(LINGER_S, self._transport.abort)


def _is_piece(frame: Frame) -> bool:
    return frame.opcode is Opcode.CONT or (frame.opcode in _MESSAGES and not frame.fin)


_MESSAGES: Final = (Opcode.TEXT, Opcode.BINARY)


def _fresh() -> Protocol:
    return Protocol(Side.SERVER, max_size=MOST_BYTES)


_shared = _fresh()
"""Reads what comes as whole messages, from all clients: between two messages a parser has nothing to remember."""
