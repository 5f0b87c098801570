"""One listener of the local broker: a socket in the directory, and the thread that empties it.

Knows nothing of publishers but the mark that they leave: whoever finds the queue full touches the socket's
file, and the listener, having emptied the queue, looks at the file's time.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final

from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.delivery import Callbacks
from telltale.brokers.local.bundles import BUNDLE_BYTES, NotABundle, unbundled
from telltale.brokers.local.directory import Directory
from telltale.native import call_after_fork

IDLE_S: Final = 15.0
"""After so long without a datagram a listener looks whether its socket is still there: temporary directories
are swept."""

AT_ONCE: Final = 32
"""So many datagrams at most are handed over in one call."""

logger = logging.getLogger("telltale.brokers")


class LocalListener:
    """Hears from its thread until closed. Its socket's file is its own, from binding to unlinking."""

    def __init__(self, directory: Directory, hearer: Callbacks, remove: "Callable[[LocalListener], None]") -> None:
        self._directory = directory
        self._hearer = hearer
        self._remove = remove
        self._closing = False
        self._buffer = memoryview(bytearray(BUNDLE_BYTES + 1))
        self._bind()
        call_after_fork(self)
        self._thread = threading.Thread(target=self._run, name="telltale-local-listener", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._unbind()
            raise BrokerUnavailable(f"No thread could be started to listen: {error}.") from error

    def close(self) -> None:
        """Stop, and remove the socket."""
        self._remove(self)
        self._closing = True
        self._wake()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def after_fork(self) -> None:
        """Close the copies of the parent's sockets: else a dead parent's would look alive, and only full."""
        self._closing = True
        self._socket.close()
        self._bell.close()

    def _bind(self) -> None:
        self._directory.prepare()
        self._path = self._directory.fresh_name()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.bind(str(self._path))
            self._bell.setblocking(False)
            self._bell.connect(str(self._path))
        except OSError as error:
            self._unbind()
            raise BrokerUnavailable(f"No socket can be bound at {self._path}: {error}.") from error
        self._marked_ns = self._mark_ns()

    def _unbind(self) -> None:
        self._socket.close()
        self._bell.close()
        self._path.unlink(missing_ok=True)

    def _wake(self) -> None:
        try:
            self._bell.send(b"")
        except OSError:
            # Full: then the thread is not asleep. Closed: then it has ended.
            return

    def _run(self) -> None:
        try:
            while not self._closing:
                self._hear()
        finally:
            self._unbind()

    def _hear(self) -> None:
        """Wait for datagrams, hand over what they hold, and look whether some found no room."""
        messages: list[bytes] = []
        is_whole = is_idle = True
        for datagram in self._datagrams():
            is_idle = False
            try:
                messages += unbundled(datagram) if datagram else []
            except NotABundle:
                is_whole = False
        if self._closing:
            return
        self._hearer.hears(messages)
        if self._missed_some() or not is_whole:
            self._hearer.misses()
        elif is_idle and not self._path.exists():
            self._bind_again()

    def _datagrams(self) -> Iterator[bytes]:
        """Wait for one, then all that are there already; none after `IDLE_S` of silence."""
        timeout_s = IDLE_S
        for _ in range(AT_ONCE):
            self._socket.settimeout(timeout_s)
            try:
                size = self._socket.recv_into(self._buffer)
            except (TimeoutError, BlockingIOError):
                return
            yield bytes(self._buffer[:size])
            timeout_s = 0.0

    def _missed_some(self) -> bool:
        mark_ns = self._mark_ns()
        if mark_ns == self._marked_ns:
            return False
        self._marked_ns = mark_ns
        return True

    def _mark_ns(self) -> int:
        try:
            return os.lstat(self._path).st_mtime_ns
        except OSError:
            return 0

    def _bind_again(self) -> None:
        """Somebody removed the socket's file; publishers can't find it any more."""
        logger.warning("The socket %s was removed by somebody; the listener binds another.", self._path)
        old = self._socket, self._bell
        try:
            self._bind()
        except BrokerUnavailable:
            logger.exception("The listener hears nothing until it can bind a socket again.")
            self._socket, self._bell = old
            return
        for each in old:
            each.close()
        self._hearer.misses()
