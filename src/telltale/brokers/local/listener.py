"""A listener of the local broker: a socket in the directory, and the thread that empties it.

A publisher that finds the queue full touches the socket's file. The listener compares the file's time after it
has emptied the queue, and so learns that datagrams were dropped.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final

from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.delivery import Callbacks
from telltale.brokers.local.bundles import BUNDLE_BYTES, InvalidBundle, unpack_bundle
from telltale.brokers.local.directory import SocketDirectory
from telltale.native import call_after_fork

IDLE_S: Final = 15.0
"""After so long without a datagram, the listener checks that its socket's file still exists: temporary
directories are cleaned up by the system."""

BATCH_DATAGRAMS: Final = 32
"""The most datagrams that are delivered in one call."""

logger = logging.getLogger("telltale.brokers")


class LocalListener:
    """Delivers messages from its thread until closed. It creates its socket's file and removes it."""

    def __init__(
        self, directory: SocketDirectory, callbacks: Callbacks, remove: "Callable[[LocalListener], None]"
    ) -> None:
        self._directory = directory
        self._callbacks = callbacks
        self._remove = remove
        self._is_closing = False
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
        self._is_closing = True
        self._wake()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def after_fork(self) -> None:
        """Close the copies of the parent's sockets: with them open, a dead parent's socket would still connect."""
        self._is_closing = True
        self._socket.close()
        self._wake_socket.close()

    def _bind(self) -> None:
        self._directory.create()
        self._path = self._directory.new_socket_path()
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._wake_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        except OSError as error:
            raise BrokerUnavailable(f"No socket can be made to listen: {error}.") from error
        try:
            try:
                self._socket.bind(str(self._path))
            except FileNotFoundError:
                self._directory.create()  # Another process's last listener has removed it in between.
                self._socket.bind(str(self._path))
            self._wake_socket.setblocking(False)
            self._wake_socket.connect(str(self._path))
        except OSError as error:
            self._unbind()
            raise BrokerUnavailable(f"No socket can be bound at {self._path}: {error}.") from error
        self._seen_mtime_ns = self._mtime_ns()

    def _unbind(self) -> None:
        self._socket.close()
        self._wake_socket.close()
        self._path.unlink(missing_ok=True)
        self._directory.remove_if_empty()

    def _wake(self) -> None:
        """Wake the thread by an empty datagram."""
        try:
            self._wake_socket.send(b"")
        except OSError:
            # The queue is full, so the thread is awake; or the socket is closed, so the thread has ended.
            return

    def _run(self) -> None:
        try:
            while not self._is_closing:
                self._receive()
        finally:
            self._unbind()

    def _receive(self) -> None:
        """Wait for datagrams, deliver their messages, and report it if a publisher found the queue full."""
        messages: list[bytes] = []
        all_valid = is_idle = True
        for datagram in self._datagrams():
            is_idle = False
            try:
                messages += unpack_bundle(datagram) if datagram else []
            except InvalidBundle:
                all_valid = False
        if self._is_closing:
            return
        self._callbacks.deliver(messages)
        if self._was_touched() or not all_valid:
            self._callbacks.report_missed()
        elif is_idle and not self._path.exists():
            self._bind_again()

    def _datagrams(self) -> Iterator[bytes]:
        """Wait for a datagram, then yield all that are queued; nothing after `IDLE_S` without any."""
        timeout_s = IDLE_S
        for _ in range(BATCH_DATAGRAMS):
            self._socket.settimeout(timeout_s)
            try:
                size = self._socket.recv_into(self._buffer)
            except (TimeoutError, BlockingIOError):
                return
            yield bytes(self._buffer[:size])
            timeout_s = 0.0

    def _was_touched(self) -> bool:
        """Whether a publisher has touched the socket's file since the last call."""
        mtime_ns = self._mtime_ns()
        if mtime_ns == self._seen_mtime_ns:
            return False
        self._seen_mtime_ns = mtime_ns
        return True

    def _mtime_ns(self) -> int:
        try:
            return os.lstat(self._path).st_mtime_ns
        except OSError:
            return 0

    def _bind_again(self) -> None:
        """Bind a new socket: the old one's file was removed, so publishers can't find it."""
        logger.warning("The socket %s was removed by another program; the listener binds another.", self._path)
        old_sockets = self._socket, self._wake_socket
        try:
            self._bind()
        except BrokerUnavailable:
            logger.exception("The listener receives nothing until it can bind a socket again.")
            self._socket, self._wake_socket = old_sockets
            return
        for old_socket in old_sockets:
            old_socket.close()
        self._callbacks.report_missed()
