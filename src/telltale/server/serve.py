"""The live server: uvicorn with Telltale's own protocols, for the live address alone.

    manage.py telltale serve          python -m telltale.server

It needs no views: only the settings (the tickets' key, the broker) and the database, which it reads in bounded
batches. One process is one event loop on one core; `--processes` starts several behind one port. SIGTERM sends
all clients away in batches, with a hint that spreads their return. `processes.py` holds what several need.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from typing import Final

import uvicorn

from telltale.live.access import live_path
from telltale.live.application import Telltale
from telltale.live.driver import driver
from telltale.server.http_protocol import HttpProtocol
from telltale.server.options import CannotServe, Options
from telltale.server.sockets import bind, listen, place_of
from telltale.server.status import Status, answer_at
from telltale.server.websocket_protocol import WebSocketProtocol

BACKLOG: Final = 4_096
"""Connections that the kernel keeps while all are busy: after a restart everybody comes back at once."""


def check(options: Options) -> None:
    """Raises `CannotServe` for what is wrong already before anything is opened."""
    if live_path() is None:
        raise CannotServe('This site lacks path("telltale/", include("telltale.urls")) in its ROOT_URLCONF.')
    configured(options)


def run(options: Options) -> None:
    """Serve in this process until told to end. Django is set up. Raises `CannotServe`."""
    check(options)
    bound = listen(options)
    status = None if options.status_port is None else bind("127.0.0.1", options.status_port)
    server = LiveServer(configured(options), status, options.lifeline)
    _allow_many_files()
    # What is here by now stays for ever: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    server.run(sockets=[bound])


def configured(options: Options) -> uvicorn.Config:
    """uvicorn with our protocols, and nothing that costs by the message. Raises `CannotServe`."""
    config = uvicorn.Config(
        Telltale(Status()),
        http=HttpProtocol,
        ws=WebSocketProtocol,
        lifespan="on",
        backlog=BACKLOG,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=options.drain_s,
        ssl_certfile=options.ssl_certfile,
        ssl_keyfile=options.ssl_keyfile,
    )
    try:
        config.load()
    except OSError as error:  # Those of `ssl` are among them.
        raise CannotServe(
            f"The certificate {options.ssl_certfile} (key: {options.ssl_keyfile or 'in the same file'}) can't be used: "
            f"{error.strerror or error}. Both are PEM files that this user may read."
        ) from error
    return config


class LiveServer(uvicorn.Server):
    """uvicorn's, that tells its operator how things are until its last moment."""

    def __init__(self, config: uvicorn.Config, status: socket.socket | None, lifeline: int | None) -> None:
        super().__init__(config)
        self._status, self._lifeline = status, lifeline
        self._answering: asyncio.Server | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn; says where it serves once it does."""
        await super().startup(sockets)
        if self._status is not None:
            self._answering = await answer_at(self._status, driver())
        if self._lifeline is not None:
            asyncio.get_running_loop().add_reader(self._lifeline, self._let_go)
        for bound in sockets or []:
            sys.stderr.write(f"Telltale serves {live_path()} at {place_of(bound)} (process {os.getpid()}).\n")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn."""
        await super().shutdown(sockets)
        if self._answering is not None:
            self._answering.close()

    def _let_go(self) -> None:
        """Whoever started this process has died: it must not hold the port against a successor."""
        assert self._lifeline is not None  # noqa: S101 (that is what was read)
        asyncio.get_running_loop().remove_reader(self._lifeline)
        self.handle_exit(signal.SIGTERM, None)


def _allow_many_files() -> None:
    """Each client is a file: as many as this process may have."""
    try:
        import resource
    except ImportError:
        return
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
