"""What the live server's protocols need of a client's line: whose it is, and whether anybody is still there.

Knows sockets and uvicorn's settings. Used by `live_socket.py` and `live_stream.py`.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Final

from uvicorn.config import Config

from telltale.transports.base import Scope
from telltale.web.forwarded import LOCAL, Proxies

GONE_MS: Final = 30_000
"""What was written and not acknowledged by the client's TCP for so long ends the connection."""


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
