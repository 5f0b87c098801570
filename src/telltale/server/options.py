"""The options of the live server, from the command line. Imports no server library."""

from argparse import SUPPRESS, ArgumentParser
from dataclasses import dataclass, fields
from typing import Any, Final, Self

EXIT_CANNOT_SERVE: Final = 2
"""The exit code of a process that could not start to serve."""


LAST_PORT: Final = 65_535
LARGEST_FD: Final = 1_048_575
LONGEST_S: Final = 3_600


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
    hung_s: int = 30
    """With several processes: one whose event loop stands still for this long is killed and restarted."""
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    parent_pipe: int | None = None
    """The read end of a pipe that the parent process holds open: this process exits when it is closed."""
    beat_pipe: int | None = None
    """The write end of a pipe that the parent process reads: the event loop writes to it all the time."""

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
        add(
            "--hung-s",
            type=int,
            default=defaults.hung_s,
            help="Of several processes, one that stands still for this many seconds is replaced (default: "
            "%(default)s).",
        )
        add("--ssl-certfile", metavar="PATH", help="Serve TLS with this certificate.")
        add("--ssl-keyfile", metavar="PATH", help="The key of the certificate, if it is not in the same file.")
        add("--parent-pipe", type=int, help=SUPPRESS)
        add("--beat-pipe", type=int, help=SUPPRESS)

    @classmethod
    def of(cls, arguments: dict[str, Any]) -> Self:
        """Return the options in parsed arguments; raises `CannotServe` if one is impossible, or two contradict."""
        options = cls(**{field.name: arguments[field.name] for field in fields(cls) if field.name in arguments})
        if options.processes < 1:
            raise CannotServe(f"--processes is {options.processes}: give at least 1.")
        check_range("--port", options.port, 0, LAST_PORT)
        check_range("--fd", options.fd, 0, LARGEST_FD)
        # Each process has a status port of its own.
        check_range("--status-port", options.status_port, 1, LAST_PORT - options.processes + 1)
        check_range("--drain-s", options.drain_s, 0, LONGEST_S)
        check_range("--hung-s", options.hung_s, 2, LONGEST_S)
        if options.fd is not None and options.uds is not None:
            raise CannotServe(f"--fd is {options.fd} and --uds is {options.uds}: give one of the two.")
        if options.processes > 1 and options.uds is not None:
            raise CannotServe(
                f"--processes is {options.processes} and --uds is given: several processes share a port, which a Unix "
                "socket has not. Give one of the two."
            )
        if options.ssl_keyfile is not None and options.ssl_certfile is None:
            raise CannotServe("--ssl-keyfile is given without --ssl-certfile: give both, or neither.")
        return options


def check_range(option: str, value: int | None, least: int, most: int) -> None:
    """Raise `CannotServe` if an option's value is out of range; None is not given."""
    if value is not None and not least <= value <= most:
        raise CannotServe(f"{option} is {value}: give a number from {least} to {most}.")
