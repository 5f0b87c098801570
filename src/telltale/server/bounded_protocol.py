"""A protocol class for uvicorn's `http=`, which bounds what a client may send before a request is served, and how long.

uvicorn itself waits for ever for the headers of a request, and keeps headers of any size. `upgrade_protocol.py` builds
on it.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from telltale.transports.http import HEAD_BYTES, HEAD_LINES

HEAD_S: Final = 10.0
"""Time for a client to send the headers of a request, from its connect or from its first byte. Also the time for the
rest of a body whose request was answered already."""


class HeadTooLarge(Exception):
    """The request has more headers than allowed, or larger ones."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], **more: Any) -> None:
        super().__init__(config, server_state, app_state, **more)
        self._is_head_complete = False
        self._head_bytes = 0
        """Bytes of the present head that were parsed."""
        self._unparsed_bytes = 0
        """Bytes that were received in the reads after the parser's last call: it keeps a line that is not complete."""
        self._has_begun = False
        """Whether the client has sent a part of a request that is not complete."""
        self._is_too_large = False
        self._timer: asyncio.TimerHandle | None = None

    # Called by the event loop --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Parse a part of a request."""
        self._has_begun = True
        self._unparsed_bytes += len(data)
        if not self._is_head_complete or self._has_answered:
            self._start_timer()
        super().data_received(data)
        if not self._is_head_complete and self._unparsed_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._is_too_large = True
            self.send_400_response("")

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has disconnected."""
        self._stop_timer()
        super().connection_lost(exc)

    # Called by uvicorn's parser ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_head_complete, self._head_bytes = False, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is complete."""
        self._count(len(name) + len(value))
        if len(self.headers) >= HEAD_LINES:
            self._refuse_head()
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Serve the request."""
        self._is_head_complete = True
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next data begin a request."""
        self._is_head_complete, self._has_begun, self._unparsed_bytes = False, False, 0
        self._stop_timer()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Another protocol serves the connection from now on."""
        self._stop_timer()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Refuse a bad request, with 431 if its head is too large."""
        self._stop_timer()
        if self._is_too_large:
            return self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        super().send_400_response(msg)

    # The limits ----------------------------------------------------------------------------------

    def _count(self, size: int) -> None:
        self._unparsed_bytes = 0
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            self._refuse_head()

    def _refuse_head(self) -> None:
        """Stop the parser, which has uvicorn send its 400."""
        self._is_too_large = True
        raise HeadTooLarge

    @property
    def _has_answered(self) -> bool:
        """Whether there was a request, and the last one was answered."""
        cycle: Any = self.cycle  # uvicorn begins with None.
        return cycle is not None and bool(cycle.response_complete)

    @property
    def _is_answering(self) -> bool:
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        self._timer = None
        if self._is_answering:
            # An earlier request is being answered, and this one is not read before: the client is not late.
            return self._start_timer()
        if self.flow.write_paused or self._is_head_complete or not self._has_begun:
            return self.transport.abort()
        self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: HTTPStatus) -> None:
        """Send a response without a body, and close the connection."""
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        self.transport.write(head.encode())
        self.transport.close()
