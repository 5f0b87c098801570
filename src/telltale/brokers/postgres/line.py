"""One connection to PostgreSQL, by libpq's own calls that do not block, so that each wait has an end.

Knows libpq, through `psycopg.pq`; knows nothing of payloads and channels. Belongs to one thread. Every
statement is a transaction of its own, and none stays open: an idle transaction of a listener would keep the
server's queue of notifications from being cleared.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.pq import ConnStatus, ExecStatus, PGconn, PollingStatus

from telltale import native
from telltale.brokers.base import BrokerUnavailable

if TYPE_CHECKING:
    from psycopg.pq import abc

CONNECT_S: Final = 5.0
"""How long connecting may take, all of the address's hosts together."""

ANSWER_S: Final = 5.0
"""How long the server may take to answer a statement; one that was stopped, or is cut off, never does."""

ENCODINGS: Final = ("UTF8", "SQL_ASCII")
"""Encodings of a database that take any text."""


class Cut(BrokerUnavailable):
    """The connection failed, could not be made, or a statement was refused. Its words hold no password."""


class Line:
    """A connection that is open; `close` it."""

    def __init__(self, connection: "abc.PGconn") -> None:
        self._connection = connection
        self._fd = connection.socket
        self.opened_at = self.answered_at = time.monotonic()
        """By the monotonic clock; `answered_at`: when the server last gave a sign of life."""

    @classmethod
    def open(cls, conninfo: str) -> "Line":
        """Connect within `CONNECT_S`; raises `Cut`."""
        connection = PGconn.connect_start(conninfo.encode())
        try:
            _await_connection(connection)
            encoding = (connection.parameter_status(b"server_encoding") or b"").decode()
            if encoding not in ENCODINGS:
                raise Cut(f"The database is in {encoding}, which has not all characters: name one in UTF8.")
        except BaseException:
            connection.finish()
            raise
        connection.nonblocking = 1
        return cls(connection)

    def fileno(self) -> int:
        """What to wait for until something is heard."""
        return self._fd

    def ask(self, statement: bytes, *values: bytes) -> None:
        """Run one statement, as a transaction, and await its end within `ANSWER_S`; raises `Cut`."""
        until = time.monotonic() + ANSWER_S
        with _failures():
            self._connection.send_query_params(statement, values)
            while self._connection.flush():
                self._await(until, writing=(self._fd,))
            self._take_results(until)
        self.answered_at = time.monotonic()

    def heard(self) -> list[bytes]:
        """The payloads that have arrived, those included that came along with an answer; raises `Cut`."""
        with _failures():
            self._connection.consume_input()
            return list(self._arrived())

    def close(self) -> None:
        """Hang up; does not wait for the server."""
        self._connection.finish()

    def after_fork(self) -> None:
        """In a child: close its copy of the socket, and say nothing to the server, which serves the parent."""
        with suppress(OSError):
            os.close(self._fd)

    def _arrived(self) -> Iterator[bytes]:
        while (notification := self._connection.notifies()) is not None:
            self.answered_at = time.monotonic()
            yield notification.extra

    def _take_results(self, until: float) -> None:
        while True:
            while self._connection.is_busy():
                self._await(until)
            result = self._connection.get_result()
            if result is None:
                return
            if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
                raise Cut(_one_line(result.error_message))

    def _await(self, until: float, writing: Sequence[int] = ()) -> None:
        """Wait for the server, which may want to be read before it reads."""
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise Cut(f"The server has not answered for {ANSWER_S:g} s.")
        native.wait_for_io([self._fd], writing, timeout_s=left_s)
        self._connection.consume_input()


def _await_connection(connection: "abc.PGconn") -> None:
    until = time.monotonic() + CONNECT_S
    while True:
        if connection.status == ConnStatus.BAD:
            raise Cut(_one_line(connection.error_message))
        step = connection.connect_poll()
        if step == PollingStatus.OK:
            return
        if step == PollingStatus.FAILED:
            raise Cut(_one_line(connection.error_message))
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise Cut(f"No connection to the server within {CONNECT_S:g} s.")
        # It may be another socket than a moment ago: libpq goes from host to host.
        fd = [connection.socket]
        is_writing = step == PollingStatus.WRITING
        native.wait_for_io([] if is_writing else fd, fd if is_writing else [], timeout_s=left_s)


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise Cut(_one_line(str(error).encode())) from error


def _one_line(message: bytes) -> str:
    return " ".join(message.decode(errors="replace").split()) or "The connection was cut."
