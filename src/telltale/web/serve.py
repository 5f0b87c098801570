"""The live server: uvicorn with Telltale's own protocols, for the live address alone.

    manage.py telltale serve          python -m telltale.web

It needs no views: only the settings (the tickets' key, the broker) and the database, which it reads in bounded
batches. One process is one event loop on one core; `--processes` starts several behind one port. SIGTERM sends
all clients away in batches, with a hint that spreads their return. `processes.py` holds what several need.
"""

import asyncio
import gc
import os
import signal
import socket
import stat
import sys
from argparse import SUPPRESS, ArgumentParser
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import uvicorn

from telltale.transports.live_socket import LiveSocket
from telltale.transports.live_stream import LiveHttp
from telltale.web.application import Telltale
from telltale.web.driver import driver
from telltale.web.gate import live_path
from telltale.web.status import Status, answer_at

BACKLOG: Final = 4_096
"""Connections that the kernel keeps while all are busy: after a restart everybody comes back at once."""

SYSTEMD_FD: Final = 3
"""Where systemd passes its first socket."""

EXIT_WRONG: Final = 2
"""The exit code of a process that could not begin to serve."""


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
    lifeline: int | None = None
    """A pipe from the process that started this one, and with which it ends."""

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
        add("--ssl-keyfile", metavar="PATH", help="The certificate's key, where it is not in the same file.")
        add("--lifeline", type=int, help=SUPPRESS)

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """From parsed arguments; raises `CannotServe`."""
        options = cls(**{field.name: given[field.name] for field in fields(cls) if field.name in given})
        if options.processes < 1:
            raise CannotServe(f"--processes is {options.processes}: at least one is needed.")
        if options.processes > 1 and options.uds is not None:
            raise CannotServe("--processes shares a port, and --uds has none: give one or the other.")
        if options.ssl_keyfile is not None and options.ssl_certfile is None:
            raise CannotServe("--ssl-keyfile is given without --ssl-certfile: give both, or neither.")
        return options


def listen(options: Options) -> socket.socket:
    """The socket that clients come to; raises `CannotServe` if it can't be had."""
    if options.fd is not None:
        return inherited(options.fd, "--fd")
    if is_passed_a_socket():
        return inherited(SYSTEMD_FD, "LISTEN_FDS")
    return bind_unix(options.uds) if options.uds else bind(options.host, options.port)


def is_passed_a_socket() -> bool:
    """Whether systemd, or who does as it does, has passed one to this very process."""
    return os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS", "0") != "0"


def inherited(fd: int, by: str) -> socket.socket:
    """A socket that was open when this process began; raises `CannotServe`."""
    try:
        return socket.socket(fileno=fd)
    except OSError as error:
        raise CannotServe(
            f"No socket was passed as number {fd}, which {by} names: {error.strerror or error}. Have whoever starts "
            "this server pass it, or listen at --host and --port."
        ) from error


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
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise CannotServe(f"{path} is no socket, and stays as it is: choose another path by --uds.")
            os.unlink(path)
        bound.bind(path)
        # As any port of this machine: what opens a connection is a ticket, and the proxy has a user of its own.
        os.chmod(path, 0o666)  # noqa: S103
    except OSError as error:
        raise CannotServe(
            f"No socket can be made at {path}: {error.strerror or error}. Choose another by --uds."
        ) from error
    return bound


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


def place_of(bound: socket.socket) -> str:
    """Where clients come to, in words."""
    name = bound.getsockname()
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else f"the socket {name}"


def _allow_many_files() -> None:
    """Each client is a file: as many as this process may have."""
    try:
        import resource
    except ImportError:
        return
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
