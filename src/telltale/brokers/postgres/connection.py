"""A connection to PostgreSQL by libpq's non-blocking calls, so that every wait has a time limit.

Knows libpq, through `psycopg.pq`; knows neither payloads nor channels. Belongs to one thread. Every statement is
a transaction of its own, and none stays open: while a listener's transaction is open, the server can't clear its
queue of notifications.
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

CONNECT_TIMEOUT_S: Final = 5.0
"""How long connecting may take, for all hosts of the address together."""

ANSWER_TIMEOUT_S: Final = 5.0
"""How long the server may take to answer a statement; one that is stopped or unreachable never answers."""

ENCODINGS: Final = ("UTF8", "SQL_ASCII")
"""Encodings of a database that take any text."""


class PostgresUnavailable(BrokerUnavailable):
    """Connecting failed, the connection broke, or a statement was refused. Its text holds no password."""


class PostgresConnection:
    """An open connection; `close` it."""

    def __init__(self, connection: "abc.PGconn") -> None:
        self._connection = connection
        self._descriptor = connection.socket
        self.opened_at = self.heard_at = time.monotonic()
        """By the monotonic clock; `heard_at`: when the server last answered or sent a notification."""

    @classmethod
    def open(cls, conninfo: str) -> "PostgresConnection":
        """Connect within `CONNECT_TIMEOUT_S`; raises `PostgresUnavailable`."""
        connection = PGconn.connect_start(conninfo.encode())
        try:
            _wait_until_connected(connection)
            encoding = (connection.parameter_status(b"server_encoding") or b"").decode()
            if encoding not in ENCODINGS:
                raise PostgresUnavailable(
                    f"The database's encoding is {encoding}, which lacks some characters: name a database in UTF8."
                )
        except BaseException:
            connection.finish()
            raise
        connection.nonblocking = 1
        return cls(connection)

    def fileno(self) -> int:
        """The descriptor that becomes readable when something arrives."""
        return self._descriptor

    def execute(self, statement: bytes, *parameters: bytes) -> None:
        """Run one statement as a transaction, within `ANSWER_TIMEOUT_S`; raises `PostgresUnavailable`."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        with _psycopg_errors():
            self._connection.send_query_params(statement, parameters)
            while self._connection.flush():
                self._wait(deadline, writing=(self._descriptor,))
            self._read_results(deadline)
        self.heard_at = time.monotonic()

    def notifications(self) -> list[bytes]:
        """Payloads that have arrived, also together with an answer; raises `PostgresUnavailable`."""
        with _psycopg_errors():
            self._connection.consume_input()
            return list(self._read_notifications())

    def close(self) -> None:
        """Close without waiting for the server."""
        self._connection.finish()

    def after_fork(self) -> None:
        """In a child: close the copy of the socket, and send nothing, since the server serves the parent."""
        with suppress(OSError):
            os.close(self._descriptor)

    def _read_notifications(self) -> Iterator[bytes]:
        while (notification := self._connection.notifies()) is not None:
            self.heard_at = time.monotonic()
            yield notification.extra

    def _read_results(self, deadline: float) -> None:
        while True:
            while self._connection.is_busy():
                self._wait(deadline)
            result = self._connection.get_result()
            if result is None:
                return
            if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
                raise PostgresUnavailable(_one_line(result.error_message))

    def _wait(self, deadline: float, writing: Sequence[int] = ()) -> None:
        """Wait for the server; also read from it while writing, or both sides might block."""
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise PostgresUnavailable(f"The server has not answered for {ANSWER_TIMEOUT_S:g} s.")
        native.wait_for_io([self._descriptor], writing, timeout_s=left_s)
        self._connection.consume_input()


def _wait_until_connected(connection: "abc.PGconn") -> None:
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while True:
        if connection.status == ConnStatus.BAD:
            raise PostgresUnavailable(_one_line(connection.error_message))
        step = connection.connect_poll()
        if step == PollingStatus.OK:
            return
        if step == PollingStatus.FAILED:
            raise PostgresUnavailable(_one_line(connection.error_message))
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise PostgresUnavailable(f"No connection to the server within {CONNECT_TIMEOUT_S:g} s.")
        # The socket may change: libpq tries one host after another.
        descriptors = [connection.socket]
        is_writing = step == PollingStatus.WRITING
        native.wait_for_io([] if is_writing else descriptors, descriptors if is_writing else [], timeout_s=left_s)


@contextmanager
def _psycopg_errors() -> Iterator[None]:
    """Raise `PostgresUnavailable` for psycopg's errors."""
    try:
        yield
    except psycopg.Error as error:
        raise PostgresUnavailable(_one_line(str(error).encode())) from error


def _one_line(message: bytes) -> str:
    return " ".join(message.decode(errors="replace").split()) or "The server closed the connection."
