"""One process of the live server: uvicorn with Telltale's own protocols, for the live address alone.

    manage.py telltale serve          python -m telltale.server

It needs no views, only the settings (the tickets' key, the broker) and the database, which it reads in bounded
batches. One process is one event loop on one core; `processes.py` runs several. SIGTERM and SIGHUP close all
clients in batches, with a hint that spreads their return.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from typing import Final

import uvicorn

from telltale.live.access import live_path
from telltale.live.application import LiveApplication
from telltale.live.driver import driver
from telltale.server import routes
from telltale.server.configuration import loaded_config
from telltale.server.hangup import on_hangup
from telltale.server.http_protocol import HttpProtocol
from telltale.server.options import CannotServe, Options
from telltale.server.sockets import address_text, bind, listen, raise_file_limit
from telltale.server.status import StatusApplication, start_status_server
from telltale.server.websocket_protocol import WebSocketProtocol

BEAT_S: Final = 0.5
"""The time between two beats to the parent process."""


def check(options: Options) -> None:
    """Raise `CannotServe` for what is wrong before anything is opened."""
    if live_path() is None and not routes.are_there():
        raise CannotServe(
            'ROOT_URLCONF does not include Telltale\'s URLs: add path("telltale/", include("telltale.urls")) to it.'
        )
    uvicorn_config(options)


def run(options: Options) -> None:
    """Serve in this process until told to stop. Django is set up. Raises `CannotServe`."""
    check(options)
    client_socket = listen(options)
    status_socket = None if options.status_port is None else bind("127.0.0.1", options.status_port)
    server = LiveServer(
        uvicorn_config(options), status_socket, parent_pipe=options.parent_pipe, beat_pipe=options.beat_pipe
    )
    on_hangup(server.handle_exit)
    raise_file_limit()
    # All objects so far stay for ever: the garbage collector need not examine them again and again.
    gc.collect()
    gc.freeze()
    with contextlib.suppress(KeyboardInterrupt):  # After SIGINT uvicorn shuts down, and then raises the signal again.
        server.run(sockets=[client_socket])


def uvicorn_config(options: Options) -> uvicorn.Config:
    """Return uvicorn's configuration, with our protocols and without an access log. Raises `CannotServe`."""
    return loaded_config(
        routes.wrap(LiveApplication(StatusApplication())),
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_per_message_deflate=False,
        drain_s=options.drain_s,
        ssl_certfile=options.ssl_certfile,
        ssl_keyfile=options.ssl_keyfile,
    )


class LiveServer(uvicorn.Server):
    """uvicorn's server, with a status port that answers until the process exits."""

    def __init__(
        self,
        config: uvicorn.Config,
        status_socket: socket.socket | None,
        *,
        parent_pipe: int | None,
        beat_pipe: int | None,
    ) -> None:
        super().__init__(config)
        self._status_socket, self._parent_pipe, self._beat_pipe = status_socket, parent_pipe, beat_pipe
        self._status_server: asyncio.Server | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn; writes to stderr where it serves."""
        await super().startup(sockets)
        if self._status_socket is not None:
            self._status_server = await start_status_server(self._status_socket, driver())
        if self._parent_pipe is not None:
            asyncio.get_running_loop().add_reader(self._parent_pipe, self._exit_with_parent)
        if self._beat_pipe is not None:
            self._beat(self._beat_pipe)
        served = live_path() or "its clients"
        for bound in sockets or []:
            sys.stderr.write(f"Telltale serves {served} on {address_text(bound)} (process {os.getpid()}).\n")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn."""
        await super().shutdown(sockets)
        if self._status_server is not None:
            self._status_server.close()

    def _exit_with_parent(self) -> None:
        """The parent process has died: exit, so that its successor can open the port."""
        assert self._parent_pipe is not None  # noqa: S101 (its end was read)
        asyncio.get_running_loop().remove_reader(self._parent_pipe)
        self.handle_exit(signal.SIGTERM, None)

    def _beat(self, pipe: int) -> None:
        """Show the parent process that this event loop turns, also while it drains."""
        with contextlib.suppress(OSError):  # The pipe is full while the parent is stopped, and closed after its death.
            os.write(pipe, b".")
        asyncio.get_running_loop().call_later(BEAT_S, self._beat, pipe)
