"""Opens the sockets that the live server listens on, and lets it have many."""

import os
import socket
import stat
from typing import Final

from telltale.server.options import CannotServe, Options

SYSTEMD_FD: Final = 3
"""The file descriptor of the first socket that systemd passes."""


def listen(options: Options) -> socket.socket:
    """Return the socket for clients; raises `CannotServe` if it can't be opened."""
    if options.fd is not None:
        return inherit(options.fd, "--fd")
    if is_passed_a_socket():
        return inherit(SYSTEMD_FD, "LISTEN_FDS")
    return bind_unix(options.uds) if options.uds else bind(options.host, options.port)


def is_passed_a_socket() -> bool:
    """Whether systemd, or a program that follows its protocol, passed a socket to this very process."""
    return os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS", "0") != "0"


def inherit(fd: int, named_by: str) -> socket.socket:
    """Return a socket that was open when this process started; raises `CannotServe`. `named_by`: where `fd` is from."""
    try:
        return socket.socket(fileno=fd)
    except OSError as error:
        raise CannotServe(
            f"{named_by} names file descriptor {fd}, which is no socket: {error.strerror or error}. Let the parent "
            "process pass the socket, or listen on --host and --port."
        ) from error


def bind(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """Return a socket bound to a port, which other processes may share with `is_shared`; raises `CannotServe`."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError as error:
        raise CannotServe(
            f"Can't listen on port {port} of {host}: {error.strerror or error}. Choose another by --port and --host, "
            "or stop the program that listens there."
        ) from error
    return bound


def bind_unix(path: str) -> socket.socket:
    """Return a Unix socket bound to a path, in place of one that a dead server left; raises `CannotServe`."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(path) == 0:
                raise CannotServe(f"Another server listens on {path}: stop it, or choose another path by --uds.")
        if os.path.lexists(path):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise CannotServe(f"{path} exists and is not a socket: remove it, or choose another path by --uds.")
            os.unlink(path)
        bound.bind(path)
        # Open to all users of this machine, like a port: a ticket grants access, and the proxy may run as another user.
        os.chmod(path, 0o666)  # noqa: S103
    except OSError as error:
        raise CannotServe(
            f"Can't listen on a socket at {path}: {error.strerror or error}. Choose another path by --uds."
        ) from error
    return bound


def address_text(bound: socket.socket) -> str:
    """Return the address of a socket, for messages."""
    address = bound.getsockname()
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else f"the socket {address}"


def raise_file_limit() -> None:
    """Allow as many open files as this process may have: each client is one."""
    try:
        import resource
    except ImportError:
        return
    _soft_limit, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
