"""A time limit for the database calls of workers and live servers: a longer call fails, because its connection is cut.

A server that hangs, or a network that drops packets, sends no error, so without a limit a call would wait for hours.
One thread in each process cuts the connections whose time is over; the driver then raises an error, as after any other
loss of the connection. PostgreSQL and MySQL only: a call of SQLite waits only for locks, as long as its `timeout` says.
"""

import _socket
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from django.db import connections

from telltale import native
from telltale.store.rows import database

CALL_S: Final = 5.0
"""How long a call may take, beside the time to connect. A call writes some rows, which takes milliseconds."""

MIN_CONNECT_S: Final = 2
"""The shortest time to connect that PostgreSQL's client library accepts."""

CHECK_EVERY_S: Final = 0.25

_DESCRIPTORS: Final[Mapping[str, Callable[[Any], int]]] = {
    "postgresql": lambda driver: int(driver.fileno()),
    "mysql": lambda driver: int(driver.fileno() if hasattr(driver, "fileno") else driver._sock.fileno()),
}
"""By vendor: the descriptor of the driver's connection."""


@contextmanager
def time_limit(seconds: float = CALL_S) -> Iterator[None]:
    """Within the block, the store's calls in this thread fail with a `django.db.Error` after `seconds`.

    Connecting has its own limit, as long. Without effect inside a transaction of the caller: it would be cut too.
    """
    connection = connections[database()]
    if connection.in_atomic_block or connection.vendor not in _DESCRIPTORS:
        yield
        return
    _connect(connection, seconds)
    try:
        watch = _Watch(connection, time.monotonic() + seconds)
    except AttributeError:  # The driver does not tell its descriptor.
        yield
        return
    watchdog = _watchdog.get()
    watchdog.add(watch)
    try:
        yield
    finally:
        watchdog.remove(watch)


def _connect(connection: Any, seconds: float) -> None:
    """Connect, unless that is done, with a limit where the site's settings give none."""
    if connection.connection is not None:
        return
    settings, limit_s = connection.settings_dict, max(MIN_CONNECT_S, round(seconds))
    limits = {"connect_timeout": limit_s}
    # PyMySQL's time to connect does not include the server's greeting, which a server that hangs never sends.
    limits_reads = connection.Database.__name__ == "pymysql" and "read_timeout" not in settings["OPTIONS"]
    if limits_reads:
        limits["read_timeout"] = limit_s
    connection.settings_dict = {**settings, "OPTIONS": limits | settings["OPTIONS"]}  # Of this thread alone.
    try:
        connection.ensure_connection()
    finally:
        connection.settings_dict = settings
    if limits_reads:
        driver_connection: Any = connection.connection
        driver_connection._read_timeout = None  # The site's own queries may take longer.


class _Watch:
    """A connection that is cut unless its call is over in time."""

    def __init__(self, connection: Any, deadline: float) -> None:
        self.deadline = deadline
        self._descriptor = _DESCRIPTORS[connection.vendor](connection.connection)

    def cut(self) -> None:
        """Shut the socket down in both directions; the driver closes it."""
        with suppress(OSError):
            copy = _socket.socket(fileno=os.dup(self._descriptor))
            try:
                copy.shutdown(_socket.SHUT_RDWR)
            finally:
                copy.close()


class _Watchdog:
    """The thread that cuts connections. It starts with the first call that has a limit, and sleeps without calls."""

    def __init__(self) -> None:
        self._watches: dict[int, _Watch] = {}
        self._lock = native.lock()
        """Held to cut and to remove: a descriptor may be another connection's once its call is over."""
        self._has_watches = native.Event()
        self._is_started = False

    def add(self, watch: _Watch) -> None:
        with self._lock:
            self._watches[id(watch)] = watch
            if not self._is_started:
                with suppress(RuntimeError):  # No thread can be started at the moment: this call has no limit.
                    native.start_thread(self._work, name="telltale-time-limit")
                    self._is_started = True
        self._has_watches.set()

    def remove(self, watch: _Watch) -> None:
        with self._lock:
            self._watches.pop(id(watch), None)

    def _work(self) -> None:
        while True:
            if not self._watches:
                self._has_watches.clear()
            if not self._watches:
                self._has_watches.wait()
            native.sleep(CHECK_EVERY_S)
            self._cut_overdue(time.monotonic())

    def _cut_overdue(self, now: float) -> None:
        with self._lock:
            for watch in [watch for watch in self._watches.values() if watch.deadline < now]:
                watch.cut()


_watchdog = native.PerProcess(_Watchdog)
