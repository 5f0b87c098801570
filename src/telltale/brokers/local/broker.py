"""The default broker: Unix datagram sockets in a private directory. It needs no service.

Reach: this machine, among processes that share a user, a temporary directory and a database. Cost: one
non-blocking send for each listener and bundle, some microseconds. Limits: on platforms without Unix sockets it
does nothing, like `none://`; a listener whose queue is full (the kernel keeps some ten datagrams) loses new
messages, and `missed` is called.

Each listener binds one socket in the directory, and a publisher sends to all sockets there. Access to the
directory is the only authentication: it belongs to the site's user, with mode 0700.
"""

import errno
import os
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote

from django.core.exceptions import ImproperlyConfigured

from telltale.brokers.base import Broker, BrokerUnavailable, Deliver, Listener, Message, Missed, Reach
from telltale.brokers.delivery import Callbacks, without_oversized
from telltale.brokers.local.bundles import pack_bundles
from telltale.brokers.local.directory import SocketDirectory, default_path
from telltale.brokers.local.listener import LocalListener
from telltale.brokers.none import NoneBroker
from telltale.brokers.urls import redact
from telltale.native import call_after_fork

SUPPORTED: Final = hasattr(socket, "AF_UNIX")
"""Whether this platform has Unix sockets; elsewhere `local://` means `none://`."""

BUFFER_BYTES: Final = 1_048_576
"""The send buffer for one listener; the kernel may grant less."""

_QUEUE_FULL: Final = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS}
"""Errors that mean a full queue, depending on the platform."""

SETTLED_NS: Final = 2_000_000_000
"""A directory that changed less than this ago may change again without a new timestamp."""


class LocalBroker:
    """Sends to every socket in one directory, each over its own connection, so that a full one delays no other."""

    reach = Reach.MACHINE

    def __init__(self, path: Path, *, removes_directory: bool = False) -> None:
        """`removes_directory`: whether the last listener removes the directory."""
        self._directory = SocketDirectory(path, is_removed=removes_directory)
        self._lock = threading.Lock()
        self._connections: dict[str, ListenerConnection] = {}
        self._listed_version: tuple[int, int] | None = None
        self._listeners: set[LocalListener] = set()
        call_after_fork(self)

    def publish(self, messages: Sequence[Message]) -> None:
        """Send to all listeners on this machine; one whose queue is full is skipped, and reports missed messages."""
        bundles = list(pack_bundles(message.body for message in without_oversized(messages)))
        if not bundles:
            return
        with self._lock:
            self._update_connections()
            for name, connection in list(self._connections.items()):
                if not all(connection.send(bundle) for bundle in bundles):
                    self._disconnect(name)

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """Bind a socket, in a directory that is created if necessary, and deliver all later messages."""
        listener = LocalListener(self._directory, Callbacks(deliver, missed), self._remove)
        with self._lock:
            self._listeners.add(listener)
            # A killed listener leaves its socket's file behind: connecting finds and removes it.
            self._update_connections()
        return listener

    def close(self) -> None:
        """Close all listeners and connections."""
        for listener in list(self._listeners):
            listener.close()
        with self._lock:
            self._disconnect_all()

    def after_fork(self) -> None:
        """Drop the parent's lock, listeners and connections."""
        self._lock = threading.Lock()
        self._listeners = set()
        self._disconnect_all()

    def _remove(self, listener: LocalListener) -> None:
        with self._lock:
            self._listeners.discard(listener)

    def _update_connections(self) -> None:
        """Connect to new sockets and drop removed ones; costs one `lstat` while the directory is unchanged."""
        version = self._directory.version()
        if version is None:
            self._disconnect_all()
            return
        if version == self._listed_version:
            return
        try:
            names = self._directory.socket_names()
            for name in self._connections.keys() - names:
                self._disconnect(name)
            for name in names - self._connections.keys():
                if connection := ListenerConnection.open(self._directory.path / name):
                    self._connections[name] = connection
        except OSError as error:
            raise BrokerUnavailable(
                f"The listeners in {self._directory.path} can't be connected to: {error}."
            ) from error
        changed_at_ns = version[1]
        self._listed_version = version if time.time_ns() - changed_at_ns > SETTLED_NS else None

    def _disconnect(self, name: str) -> None:
        self._connections.pop(name).close()

    def _disconnect_all(self) -> None:
        for name in list(self._connections):
            self._disconnect(name)
        self._listed_version = None


class ListenerConnection:
    """A connection to one listener's socket."""

    def __init__(self, path: Path, connection: socket.socket) -> None:
        self._path = str(path)
        self._socket = connection

    @classmethod
    def open(cls, path: Path) -> "ListenerConnection | None":
        """Connect; if the listener is dead, remove its socket's file and return None."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            connection.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            connection.close()
            path.unlink(missing_ok=True)
            return None
        except OSError:
            connection.close()
            raise
        return cls(path, connection)

    def send(self, bundle: bytes) -> bool:
        """Send, unless the listener's queue is full; False if the listener is gone."""
        try:
            if self._try_send(bundle):
                return True
            # Touch the file first, then try again. If the queue is still full, the listener has yet to empty it,
            # and checks the file's time afterwards: so it learns of the loss even if nothing else is ever sent.
            now_ns = time.time_ns()
            os.utime(self._path, ns=(now_ns, now_ns))
            self._try_send(bundle)
        except OSError:
            Path(self._path).unlink(missing_ok=True)
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _try_send(self, bundle: bytes) -> bool:
        """Send; False if the queue is full."""
        try:
            self._socket.send(bundle)
        except OSError as error:
            if error.errno in _QUEUE_FULL:
                return False
            raise
        return True


def build(url: SplitResult) -> Broker:
    """For `local://`, or `local:///a/directory` that only this site uses."""
    if url.netloc or url.query or url.fragment:
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {redact(url.geturl())!r}: write local://, or local:///run/mysite with three "
            "slashes and the absolute path of a directory that only this site uses."
        )
    if not SUPPORTED:
        return NoneBroker()
    if url.path.strip("/"):
        return LocalBroker(Path(unquote(url.path)))
    return LocalBroker(default_path(), removes_directory=True)
