"""The live server: uvicorn with Telltale's own protocols, for the live address alone.

    manage.py telltale serve          python -m telltale.web

It needs no views: only the settings (the tickets' key, the broker) and the database, which it reads in bounded
batches. One process is one event loop on one core; `--processes` starts several behind one port. SIGTERM sends
all clients away in batches, with a hint that spreads their return. `processes.py` holds what several need.
"""

import gc
import os
import socket
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import uvicorn

from telltale.transports.live_socket import LiveSocket
from telltale.transports.live_stream import LiveHttp
from telltale.web.application import Telltale
from telltale.web.gate import live_path
from telltale.web.status import Status

BACKLOG: Final = 4_096
"""Connections that the kernel keeps while all are busy: after a restart everybody comes back at once."""

SYSTEMD_FD: Final = 3
"""Where systemd passes its first socket."""


class CannotServe(Exception):
    """Why the server can't start, with the mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to serve. A socket is given by `fd`, or by `uds`, or by `host` and `port`."""

    host: str = "127.0.0.1"
    port: int = 8001
    uds: str | None = None
    fd: int | None = None
    processes: int = 1
    status_port: int | None = None
    drain_s: int = 10
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None

    @classmethod
    def add_to(cls, parser: ArgumentParser) -> None:
        """The command line's form of them."""
        add, usual = parser.add_argument, cls()
        add("--host", default=usual.host, help="The address to listen at (default: %(default)s).")
        add("--port", type=int, default=usual.port, help="The port (default: %(default)s).")
        add("--uds", metavar="PATH", help="Listen at a Unix socket instead.")
        add("--fd", type=int, help="Listen at a socket that was inherited under this number instead.")
        add("--processes", type=int, default=usual.processes, help="So many processes behind one port.")
        add(
            "--status-port",
            type=int,
            help="Answer /metrics and /healthz at this port of 127.0.0.1; process k (from 0) at this plus k.",
        )
        add("--drain-s", type=int, default=usual.drain_s, help="Seconds for sending all away (default: %(default)s).")
        add("--ssl-certfile", metavar="PATH", help="Serve TLS with this certificate.")
        add("--ssl-keyfile", metavar="PATH", help="The certificate's key.")

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """From parsed arguments; raises `CannotServe`."""
        options = cls(**{field.name: given[field.name] for field in fields(cls) if field.name in given})
        if options.processes < 1:
            raise CannotServe(f"--processes is {options.processes}: at least one is needed.")
        if options.processes > 1 and options.uds is not None:
            raise CannotServe("--processes shares a port, and --uds has none: give one or the other.")
        return options


def listen(options: Options) -> socket.socket:
    """The socket that clients come to; raises `CannotServe` if it can't be had."""
    if options.fd is not None:
        return socket.socket(fileno=options.fd)
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and int(os.environ.get("LISTEN_FDS", "0")) > 0:
        return socket.socket(fileno=SYSTEMD_FD)
    return bind_unix(options.uds) if options.uds else bind(options.host, options.port)


def bind(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """A socket at a port, which others may share with `is_shared`; raises `CannotServe`."""
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(place)
    except OSError as error:
        raise CannotServe(
            f"Port {port} of {host} can't be had: {error.strerror or error}. Choose another by --port and --host, or "
            "stop what listens there."
        ) from error
    return bound


def bind_unix(path: str) -> socket.socket:
    """A socket at a path; one that a dead server left there is replaced. Raises `CannotServe`."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(path) == 0:
                raise CannotServe(f"Somebody serves at {path} already: stop them, or choose another by --uds.")
        if os.path.lexists(path):
            os.unlink(path)
        bound.bind(path)
    except OSError as error:
        raise CannotServe(
            f"No socket can be made at {path}: {error.strerror or error}. Choose another by --uds."
        ) from error
    return bound


def run(options: Options) -> None:
    """Serve in this process until told to end. Django is set up. Raises `CannotServe`."""
    if live_path() is None:
        raise CannotServe('This site lacks path("telltale/", include("telltale.urls")) in its ROOT_URLCONF.')
    sockets = [listen(options)]
    if options.status_port is not None:
        sockets.append(bind("127.0.0.1", options.status_port))
    server = uvicorn.Server(configured(options))
    _allow_many_files()
    # What is here by now stays for ever: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    server.run(sockets=sockets)


def configured(options: Options) -> uvicorn.Config:
    """uvicorn with our protocols, and nothing that costs by the message."""
    return uvicorn.Config(
        Telltale(Status(options.status_port)),
        http=LiveHttp,
        ws=LiveSocket,
        lifespan="on",
        backlog=BACKLOG,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=options.drain_s,
        ssl_certfile=options.ssl_certfile,
        ssl_keyfile=options.ssl_keyfile,
    )


def place_of(bound: Sequence[socket.socket]) -> str:
    """Where clients come to, in words."""
    name = bound[0].getsockname()
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)


def _allow_many_files() -> None:
    """Each client is a file: as many as this process may have."""
    try:
        import resource
    except ImportError:
        return
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
