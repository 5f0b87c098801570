"""The default broker: Unix datagram sockets in a private directory. It needs no service.

Reach: this machine, as far as the processes share a user, a temporary directory and a database.
Cost: one non-blocking send a listener and bundle, some microseconds. Limits: where there are no such sockets
it is as `none://`; a listener whose queue is full (the kernel keeps some ten datagrams) loses what comes, and
is told so.

Each listener binds one socket in the directory; a publisher sends to all that it finds there. Permission to
enter the directory is the only authentication: it belongs to the site's user, with mode 0700.
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
from telltale.brokers.delivery import Callbacks, carriable
from telltale.brokers.local.bundles import bundled
from telltale.brokers.local.directory import Directory, default_path
from telltale.brokers.local.listener import LocalListener
from telltale.brokers.none import NoneBroker
from telltale.native import call_after_fork

SUPPORTED: Final = hasattr(socket, "AF_UNIX")
"""Whether this platform has the sockets; elsewhere `local://` is as `none://`."""

BUFFER_BYTES: Final = 1_048_576
"""What may be under way to one listener; the kernel may grant less."""

_FULL: Final = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS}
"""What platforms say of a queue without room."""

SETTLED_NS: Final = 2_000_000_000
"""A directory that changed less than this ago may change again without a new timestamp."""


class LocalBroker:
    """Sends to every socket in one directory, over a connection each, so that a full one delays no other."""

    reach = Reach.MACHINE

    def __init__(self, path: Path) -> None:
        self._directory = Directory(path)
        self._lock = threading.Lock()
        self._peers: dict[str, Peer] = {}
        self._listed: tuple[int, int] | None = None
        self._listeners: set[LocalListener] = set()
        call_after_fork(self)

    def publish(self, messages: Sequence[Message]) -> None:
        """Send to all listeners on this machine; one that is full is skipped and finds a mark that says so."""
        bundles = list(bundled(message.body for message in carriable(messages)))
        if not bundles:
            return
        with self._lock:
            self._find_peers()
            for name, peer in list(self._peers.items()):
                if not all(peer.send(bundle) for bundle in bundles):
                    self._drop(name)

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        """Bind a socket, creating the directory if need be, and begin with what is sent from now on."""
        listener = LocalListener(self._directory, Callbacks(deliver, missed), self._remove)
        with self._lock:
            self._listeners.add(listener)
            # Whoever died without a word left a socket behind: looking for peers clears it away.
            self._find_peers()
        return listener

    def close(self) -> None:
        """Stop the listeners and let go of the connections."""
        for listener in list(self._listeners):
            listener.close()
        with self._lock:
            self._forget_peers()

    def after_fork(self) -> None:
        """Locks and listeners are the parent's; the connections are shared, and made anew."""
        self._lock = threading.Lock()
        self._listeners = set()
        self._forget_peers()

    def _remove(self, listener: LocalListener) -> None:
        with self._lock:
            self._listeners.discard(listener)

    def _find_peers(self) -> None:
        """Bring `_peers` up to date, at the price of one `lstat` while the directory stays as it is."""
        version = self._directory.version()
        if version is None:
            self._forget_peers()
            return
        if version == self._listed:
            return
        try:
            names = self._directory.sockets()
            for name in self._peers.keys() - names:
                self._drop(name)
            for name in names - self._peers.keys():
                if peer := Peer.reach(self._directory.path / name):
                    self._peers[name] = peer
        except OSError as error:
            raise BrokerUnavailable(f"The listeners in {self._directory.path} can't be reached: {error}.") from error
        changed_at_ns = version[1]
        self._listed = version if time.time_ns() - changed_at_ns > SETTLED_NS else None

    def _drop(self, name: str) -> None:
        self._peers.pop(name).close()

    def _forget_peers(self) -> None:
        for name in list(self._peers):
            self._drop(name)
        self._listed = None


class Peer:
    """A connection to one listener's socket."""

    def __init__(self, path: Path, connection: socket.socket) -> None:
        self._path = str(path)
        self._connection = connection

    @classmethod
    def reach(cls, path: Path) -> "Peer | None":
        """Connect; None if the listener is dead, whose socket is then removed."""
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
        """False if the listener is gone. A full one is skipped, which costs the others nothing."""
        try:
            if self._sent(bundle):
                return True
            # Mark first and try again second: if there is still no room, the listener has yet to empty its
            # queue, and looks for the mark when it has. So it learns of the loss even if nothing ever follows.
            now_ns = time.time_ns()
            os.utime(self._path, ns=(now_ns, now_ns))
            self._sent(bundle)
        except OSError:
            Path(self._path).unlink(missing_ok=True)
            return False
        return True

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _sent(self, bundle: bytes) -> bool:
        try:
            self._connection.send(bundle)
        except OSError as error:
            if error.errno in _FULL:
                return False
            raise
        return True


def build(url: SplitResult) -> Broker:
    """For `local://`, or `local:///a/directory` of the site's own."""
    if url.netloc or url.query or url.fragment:
        raise ImproperlyConfigured(
            f"TELLTALE['BROKER'] is {url.geturl()!r}: write local://, or local:///run/mysite with three slashes "
            "and the absolute path of a directory that is the site's alone."
        )
    if not SUPPORTED:
        return NoneBroker()
    path = Path(unquote(url.path)) if url.path.strip("/") else default_path()
    return LocalBroker(path)
