"""The options of the live server, from the command line. Imports no server library."""

from argparse import SUPPRESS, ArgumentParser
from dataclasses import dataclass, fields
from typing import Any, Final, Self

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
