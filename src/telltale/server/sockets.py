"""The sockets that the live server listens on."""

import os
import socket
import stat
from typing import Final

from telltale.server.options import CannotServe, Options

SYSTEMD_FD: Final = 3
"""Where systemd passes its first socket."""


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


def place_of(bound: socket.socket) -> str:
    """Where clients come to, in words."""
    name = bound.getsockname()
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else f"the socket {name}"
