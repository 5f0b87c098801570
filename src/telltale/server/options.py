"""The options of the live server, from the command line. Imports no server library."""

from argparse import SUPPRESS, ArgumentParser
from dataclasses import dataclass, fields
from typing import Any, Final, Self

EXIT_CANNOT_SERVE: Final = 2
"""The exit code of a process that could not start to serve."""


class CannotServe(Exception):
    """The server can't start; the text says why and what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to serve. The listening socket is given by `fd`, by `uds`, or by `host` and `port`."""

    host: str = "127.0.0.1"
    port: int = 8001
    uds: str | None = None
    """The path of a Unix socket."""
    fd: int | None = None
    """The file descriptor of an inherited socket."""
    processes: int = 1
    status_port: int | None = None
    """Where `/metrics` and `/healthz` are served; process k (from 0) serves them at this plus k."""
    drain_s: int = 10
    """Seconds for closing all connections at shutdown."""
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    parent_pipe: int | None = None
    """The read end of a pipe that the parent process holds open: this process exits when it is closed."""

    @classmethod
    def add_to(cls, parser: ArgumentParser) -> None:
        """Add the options to a command line."""
        add, defaults = parser.add_argument, cls()
        add("--host", default=defaults.host, help="The address to listen on (default: %(default)s).")
        add("--port", type=int, default=defaults.port, help="The port to listen on (default: %(default)s).")
        add("--uds", metavar="PATH", help="Listen on a Unix socket instead.")
        add("--fd", type=int, help="Listen on an inherited socket with this file descriptor instead.")
        add("--processes", type=int, default=defaults.processes, help="The number of processes that share the port.")
        add(
            "--status-port",
            type=int,
            help="Serve /metrics and /healthz on this port of 127.0.0.1; process k (from 0) on this plus k.",
        )
        add(
            "--drain-s",
            type=int,
            default=defaults.drain_s,
            help="Seconds for closing all connections at shutdown (default: %(default)s).",
        )
        add("--ssl-certfile", metavar="PATH", help="Serve TLS with this certificate.")
        add("--ssl-keyfile", metavar="PATH", help="The key of the certificate, if it is not in the same file.")
        add("--parent-pipe", type=int, help=SUPPRESS)

    @classmethod
    def of(cls, arguments: dict[str, Any]) -> Self:
        """Return the options in parsed arguments; raises `CannotServe` if they contradict each other."""
        options = cls(**{field.name: arguments[field.name] for field in fields(cls) if field.name in arguments})
        if options.processes < 1:
            raise CannotServe(f"--processes is {options.processes}: give at least 1.")
        if options.processes > 1 and options.uds is not None:
            raise CannotServe(
                f"--processes is {options.processes} and --uds is given: several processes share a port, which a Unix "
                "socket has not. Give one of the two."
            )
        if options.ssl_keyfile is not None and options.ssl_certfile is None:
            raise CannotServe("--ssl-keyfile is given without --ssl-certfile: give both, or neither.")
        return options
