"""The common part of the live server's protocols: the line to one client, its address, and flow control.

Knows sockets and uvicorn's conventions for protocols. `socket_protocol.py` and `http_protocol.py` build on it.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Final, Protocol

from uvicorn.config import Config
from uvicorn.server import ServerState

from telltale.server.proxies import LOCAL, Proxies
from telltale.transports.http import LiveRequest

UNACKNOWLEDGED_MS: Final = 30_000
"""Data that the client's TCP has not acknowledged for this long ends the connection."""


class LineClient(Protocol):
    """A client, as its line uses it."""

    def block(self) -> None:
        """The line takes nothing more: write nothing until `unblock`."""

    def unblock(self) -> None:
        """The line takes more."""

    def leave(self) -> None:
        """The client has disconnected, and nothing more is written; harmless when repeated."""


class ClientProtocol(asyncio.Protocol):
    """The line to one client; `_client` is None before it is admitted and after it has disconnected."""

    __slots__ = ("_client", "_state", "_transport")

    _transport: asyncio.Transport

    def __init__(self, server_state: ServerState) -> None:
        self._state = server_state
        self._client: LineClient | None = None

    def eof_received(self) -> None:
        """The client sends nothing more: asyncio closes the line."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has disconnected."""
        self._state.connections.discard(self)
        if self._client is not None:
            self._client.leave()
        self._client = None

    def pause_writing(self) -> None:
        """More is written than the client takes."""
        if self._client is not None:
            self._client.block()

    def resume_writing(self) -> None:
        """The client has taken what was written."""
        if self._client is not None:
            self._client.unblock()

    def shutdown(self) -> None:
        """Called by uvicorn when it shuts down."""
        if self._client is None:
            self._transport.close()
        else:
            self._drain()

    def _drain(self) -> None:
        """Have all clients closed, in batches; harmless when repeated."""
        raise NotImplementedError


def client_address(transport: asyncio.Transport, request: LiveRequest, config: Config) -> str:
    """Return the client's address, as reported by the proxies that uvicorn trusts; empty if it is not known."""
    peer = _peer(transport)
    address = _proxies(config).client_address(peer or LOCAL, request.forwarded_for)
    return address if peer or address != LOCAL else ""


def is_secure(transport: asyncio.Transport, forwarded_proto: str, config: Config) -> bool:
    """Whether the client uses TLS, as reported by a proxy that uvicorn trusts, else by this connection."""
    if forwarded_proto and _proxies(config).trust(_peer(transport) or LOCAL):
        return forwarded_proto.strip() in {"https", "wss"}
    return transport.get_extra_info("sslcontext") is not None


def _peer(transport: asyncio.Transport) -> str:
    """Return the peer's address; empty for a Unix socket, whose peer is on this machine: trusted if 127.0.0.1 is."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _proxies(config: Config) -> Proxies:
    return Proxies.from_setting(config.forwarded_allow_ips)


def is_paused(transport: asyncio.Transport) -> bool:
    """Whether the client has not read an earlier response, so that `pause_writing` was called on uvicorn's protocol.

    Data that waits is no sign of that: with TLS the end of the handshake may wait too.
    """
    flow = getattr(transport.get_protocol(), "flow", None)
    return flow is not None and bool(flow.write_paused)


def enable_keepalive(transport: asyncio.Transport) -> None:
    """Let TCP detect clients that vanished without closing the connection."""
    tcp_socket = transport.get_extra_info("socket")
    if tcp_socket is None or tcp_socket.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with suppress(OSError, AttributeError):  # Platforms differ in the options that they have.
        tcp_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        tcp_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
