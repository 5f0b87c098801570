"""The common part of the live server's WebSockets: frames of clients, bounded in size and rate, and the end of a line.

A protocol class for the connection after its handshake. It writes to its asyncio transport itself: a frame is made
once, and the same bytes are written to all clients. `websockets` parses what clients send. `websocket_protocol.py`
serves the live address with it; other rooms register protocols of their own (`routes.py`).
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Final, cast

from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State

from telltale.server.client_protocol import ClientProtocol, is_paused
from telltale.server.frames import holds_whole_messages, text_frame
from telltale.transports.http import LiveRequest

SLICE_BYTES: Final = 512
"""Bytes from a client that are parsed before its rate limit is checked: 85 of the smallest frames."""

TURN: Final = 64
"""Frames of one client that are handled in a turn of the event loop, plus those of a slice."""

LINGER_S: Final = 5.0
"""Time for a client to read the last message and to answer the closing frame."""

MESSAGE_OPCODES: Final = (Opcode.TEXT, Opcode.BINARY)
"""Of frames that hold a message, or the beginning of one."""


def is_fragment(frame: Frame) -> bool:
    """Whether the frame is a part of a message that has several."""
    return frame.opcode is Opcode.CONT or (frame.opcode in MESSAGE_OPCODES and not frame.fin)


class Parsers:
    """Parsers of clients' frames. `shared` reads whole messages of all clients: between two it keeps no state."""

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self.shared = self.new()

    def new(self) -> Protocol:
        """Return a parser for one client."""
        return Protocol(Side.SERVER, max_size=self._max_message_bytes)


class SocketProtocol(ClientProtocol):
    """One client. `form` and `write` are an outlet's; subclasses add its `end`."""

    __slots__ = ("_is_reading", "_parser", "write")

    form = staticmethod(text_frame)
    parsers: ClassVar[Parsers]

    def __init__(self, server_state: ServerState) -> None:
        super().__init__(server_state)
        self._is_reading = False
        self._parser: Protocol | None = None
        """Of this client alone, once it has sent a part of a frame or of a message."""
        self.write: Callable[[bytes], object]

    # For subclasses ------------------------------------------------------------------------------

    def open(self, handshake: Request, request: LiveRequest, config: Config) -> None:
        """Respond to a handshake; `request` holds the same headers."""
        raise NotImplementedError

    def _handle_frame(self, frame: Frame) -> bool:
        """Handle a frame of any kind, which counts for the rate limit; False to read nothing more."""
        raise NotImplementedError

    @property
    def _has_ended(self) -> bool:
        """Whether the last message was sent."""
        raise NotImplementedError

    def _check(self, parser: Protocol, frames: list[Frame]) -> None:
        """Fail the parser if the protocol does not allow these frames."""

    # Called by uvicorn and the event loop --------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Prepare for the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        if is_paused(self._transport):
            # `resume_writing` will be called on this protocol, which does not know that the line is full.
            self._transport.abort()
        self.write = self._transport.write

    def data_received(self, data: bytes) -> None:
        """Read the client's frames, unless it is closed."""
        if self._is_reading:
            self._read(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has disconnected."""
        super().connection_lost(exc)
        self._is_reading, self._parser = False, None

    # The client's frames -------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        """Read frames: about `TURN` of them now, the others after other clients had their turn."""
        if self._parser is None and holds_whole_messages(data, max_frames=TURN):
            self._read_slice(self.parsers.shared, data)
            return
        # The beginning of a frame has to be kept until its rest comes, so this client gets a parser of its own.
        parser = self._parser = self._parser or self.parsers.new()
        count = 0
        for start in range(0, len(data), SLICE_BYTES):
            if count >= TURN:
                return self._read_later(data[start:])
            count += self._read_slice(parser, data[start : start + SLICE_BYTES])
            if not self._is_reading:
                return

    def _read_later(self, data: bytes) -> None:
        """Read this data, and what follows it, in the next turn of the event loop."""
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._resume_reading, data)

    def _resume_reading(self, data: bytes) -> None:
        if self._is_reading and not self._transport.is_closing():
            self._transport.resume_reading()
            self.data_received(data)

    def _read_slice(self, parser: Protocol, data: bytes) -> int:
        """Parse and handle some data; return the number of frames."""
        parser.receive_data(data)
        frames: list[Any] = parser.events_received()
        self._check(parser, frames)
        answer = b"".join(parser.data_to_send())
        is_over = parser.state is not State.OPEN or parser.parser_exc is not None
        # Nothing of this client may stay in the parser that others share.
        if is_over and parser is self.parsers.shared:
            self.parsers.shared = self.parsers.new()
        self._handle(frames)
        self._answer(answer, is_over=is_over)
        return len(frames)

    def _handle(self, frames: list[Frame]) -> None:
        """Handle frames; all kinds count for the rate limit, for a ping costs as much as a message."""
        for frame in frames:
            if not self._is_reading:
                return
            if not self._handle_frame(frame):
                return self._stop_reading()

    def _stop_reading(self) -> None:
        """The client has sent too much and was told so: its further data stays in the kernel until the line is cut."""
        self._is_reading = False
        if self._transport.is_closing():
            return
        self._transport.pause_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _answer(self, answer: bytes, *, is_over: bool) -> None:
        """Send the WebSocket protocol's own answer, such as a pong, unless the last message was sent already."""
        if answer and not self._has_ended:
            self._transport.write(answer)
        if is_over:
            self._is_reading = False
            if self._client is not None:
                self._client.leave()
            self._transport.close()
            self._abort_later()

    def _abort_later(self) -> None:
        asyncio.get_running_loop().call_later(LINGER_S, self._transport.abort)
