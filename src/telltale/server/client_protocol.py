"""What the live server's protocols share: a client's line, whose it is, and whether anybody is still there.

Knows sockets and how uvicorn treats its protocols. `live_socket.py` and `live_stream.py` build on it.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Final

from uvicorn.config import Config
from uvicorn.server import ServerState

from telltale.live.driver import driver
from telltale.server.proxies import LOCAL, Proxies
from telltale.transports.base import Follower
from telltale.transports.http import Scope

GONE_MS: Final = 30_000
"""What was written and not acknowledged by the client's TCP for so long ends the connection."""


class ClientProtocol(asyncio.Protocol):
    """The line to one client; `_follower` is None before it is let in, and after it has gone."""

    __slots__ = ("_follower", "_state", "_transport")

    _transport: asyncio.Transport

    def __init__(self, server_state: ServerState) -> None:
        self._state = server_state
        self._follower: Follower | None = None

    def eof_received(self) -> None:
        """The client says nothing more: it has gone."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._state.connections.discard(self)
        if self._follower is not None:
            self._follower.leave()
        self._follower = None

    def pause_writing(self) -> None:
        """More is written than the client takes."""
        if self._follower is not None:
            self._follower.block()

    def resume_writing(self) -> None:
        """The client has taken it."""
        if self._follower is not None:
            self._follower.unblock()

    def shutdown(self) -> None:
        """uvicorn is told to end: all are sent away, in batches."""
        if self._follower is None:
            self._transport.close()
        else:
            driver().drain()


def client_of(transport: asyncio.Transport, scope: Scope, config: Config) -> str:
    """The client's address, as the proxies say it that uvicorn is told to trust; empty where nobody says it.

    Behind a Unix socket is somebody of this machine, who is believed if those at 127.0.0.1 are.
    """
    peer = transport.get_extra_info("peername")
    has_address = isinstance(peer, tuple)
    address = Proxies.of(config.forwarded_allow_ips).client_of(str(peer[0]) if has_address else LOCAL, scope)
    return address if has_address or address != LOCAL else ""


def mind_the_gone(transport: asyncio.Transport) -> None:
    """Have TCP find out about clients that vanished without a word."""
    line = transport.get_extra_info("socket")
    if line is None or line.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with suppress(OSError, AttributeError):  # Platforms differ in what they have.
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
