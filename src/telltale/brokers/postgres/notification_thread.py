"""The one thread and the one connection by which a process sends and receives notifications.

Only this thread uses the connection. Publishers fill a `SendBuffer` and wake the thread; received messages go into
the listeners' queues. The connection is open while there are listeners, or messages to send, and for a while
after. While the thread does not receive notifications, listeners report every 2 s that they may have missed
messages: so pages never wait for a connection that is broken, or that delivers nothing.
"""

import logging
import time
from collections.abc import Sequence
from random import uniform
from typing import Final

from telltale import native
from telltale.brokers import RECHECK_S
from telltale.brokers.base import BrokerUnavailable, Message, Reach
from telltale.brokers.postgres import probe
from telltale.brokers.postgres.address import PostgresAddress
from telltale.brokers.postgres.connection import PostgresConnection, PostgresUnavailable
from telltale.brokers.postgres.listener import Listeners, PostgresListener
from telltale.brokers.postgres.send_buffer import SendBuffer
from telltale.core.outage import Outage
from telltale.native import call_after_fork

SEND_EVERY_S: Final = 0.05
"""Between two transactions that notify: each takes a lock that all such commits of the server share."""

KEEPALIVE_S: Final = 5.0
"""After so long without an answer or a notification, the server is sent a query."""

IDLE_S: Final = 30.0
"""Without listeners, the connection is closed so long after the last message."""

MAX_RETRY_S: Final = 8.0
"""The longest wait between two attempts to connect."""

STABLE_S: Final = 5.0
"""A connection that lasted so long was good: after it breaks, the next attempt follows at once."""

RETRY_LISTEN_S: Final = 60.0
"""Between two attempts to listen over a connection that delivers no notifications."""

CLOSE_TIMEOUT_S: Final = 1.0
"""How long `close` waits until queued messages are sent."""

MISSED_EVERY_S: Final = RECHECK_S[Reach.NOWHERE]
"""How often listeners report missed messages while nothing is received."""

_POLL_S: Final = 0.002
_LONG_AGO: Final = float("-inf")
_NEVER: Final = float("inf")
_MEANWHILE: Final = f"Meanwhile web processes read the store every {MISSED_EVERY_S:g} s."

logger = logging.getLogger("telltale.brokers")


class NotificationThread:
    """Sends and receives for one process and one address, until closed. The thread starts with the first use."""

    def __init__(self, address: PostgresAddress) -> None:
        self._address = address
        self._lock = native.lock()
        self._waker = native.SocketWaker()
        self._is_started = self._is_closing = self._has_ended = False
        self.listeners = Listeners()
        # Shared, under the lock.
        self._buffer = SendBuffer()
        self._send_error: PostgresUnavailable | None = None
        # Changed by the thread only.
        self._has_listen_failed = False
        self.is_listening = False
        """Whether notifications arrive."""
        self._connection: PostgresConnection | None = None
        self._sending: list[bytes] = []  # Payloads, until their transaction is committed.
        self._failures = 0
        self._connect_at = self._send_at = self._listen_at = self._report_missed_at = self._used_at = _LONG_AGO
        self._connection_outage = Outage(logger, "The connection for PostgreSQL's notifications", _MEANWHILE)
        self._listen_outage = Outage(logger, "Receiving PostgreSQL's notifications", _MEANWHILE)
        call_after_fork(self)

    # Called by any thread -----------------------------------------------------------------------

    def send(self, messages: Sequence[Message]) -> None:
        """Send `messages` within `SEND_EVERY_S`; raises `BrokerUnavailable` while sending is known to fail."""
        with self._lock:
            error, was_empty = self._send_error, not self._buffer
            if error is not None:
                self._buffer.discard()
            else:
                for message in messages:
                    self._buffer.add(message)
        self._start()
        if was_empty:
            self._waker.wake()
        if error is not None:
            raise BrokerUnavailable(f"PostgreSQL can't be notified: {error}")

    def add_listener(self, listener: PostgresListener, *, timeout_s: float) -> None:
        """Fill the listener's queue; returns once notifications are received, or receiving fails, or time is up."""
        self.listeners.add(listener)
        self._start()
        self._waker.wake()
        deadline = time.monotonic() + timeout_s
        while not (self.is_listening or self._has_listen_failed or self._send_error) and time.monotonic() < deadline:
            native.sleep(_POLL_S)
        listener.is_starting = False

    def close(self) -> None:
        """Close all listeners, send queued messages within `CLOSE_TIMEOUT_S`, and disconnect."""
        self.listeners.close()
        self._is_closing = True
        self._waker.wake()
        if not self._is_started:
            self._waker.close()
            return
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        while not self._has_ended and time.monotonic() < deadline:
            native.sleep(_POLL_S)

    def after_fork(self) -> None:
        """Drop the parent's thread and connection: the child's broker starts a notification thread of its own."""
        self._lock = native.lock()
        self.listeners.after_fork()
        self._waker.close()
        if self._connection is not None:
            self._connection.after_fork()

    def _start(self) -> None:
        with self._lock:
            if self._is_started:
                return
            try:
                native.start_thread(self._run, name="telltale-postgres")
            except RuntimeError as error:
                raise BrokerUnavailable(
                    f"No thread could be started for PostgreSQL's notifications: {error}."
                ) from error
            self._is_started = True

    # In the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_closing or (self._has_to_send() and self._send_error is None):
            try:
                self._step()
            except PostgresUnavailable as error:
                self._failed(error)
            except Exception as error:
                # Such as a site's own code that fetches a password. The thread must go on: without it, this
                # process would receive nothing more.
                if self._failures == 0:
                    logger.exception("Sending and receiving PostgreSQL's notifications failed; it is tried again.")
                self._failed(PostgresUnavailable(f"{type(error).__name__}, see the log."))
        self._disconnect()
        self._waker.close()
        self._has_ended = True

    def _step(self) -> None:
        """Wait until something is due, and do it."""
        connection = self._connection or self._connect()
        if connection is None:
            return
        if self.listeners and not self.is_listening and time.monotonic() >= self._listen_at:
            self._start_listening(connection)
        self._wait(self._due_at(connection), connection)
        self._send_if_due(connection)
        if self.listeners and time.monotonic() - connection.heard_at >= KEEPALIVE_S:
            connection.execute(b"SELECT 1")
        # Last: notifications that arrive together with an answer would not wake this thread.
        self.listeners.put_payloads(connection.notifications())
        self._report_missed_if_due()
        if not self._is_needed() and time.monotonic() - self._used_at >= IDLE_S:
            self._disconnect()

    def _connect(self) -> PostgresConnection | None:
        """Connect if a connection is needed and an attempt is due; otherwise wait for that, and return None."""
        if not self._is_needed():
            self._send_error = None
            self._wait(_NEVER)
            return None
        if time.monotonic() < self._connect_at:
            self._wait(min(self._connect_at, self._report_missed_at if self.listeners else _NEVER))
            self._report_missed_if_due()
            return None
        self._connection, self._used_at = PostgresConnection.open(self._address.conninfo()), time.monotonic()
        if not self._has_to_send():
            self._send_error = None
        return self._connection

    def _start_listening(self, connection: PostgresConnection) -> None:
        try:
            payloads = probe.start_listening(connection, self._address)
        except probe.NothingReceived as error:
            self._has_listen_failed, self._listen_at = True, time.monotonic() + RETRY_LISTEN_S
            self._connection_outage.end(now=time.monotonic())
            self._listen_outage.begin(error, now=time.monotonic())
            return
        self.is_listening, self._has_listen_failed = True, False
        self._connection_outage.end(now=time.monotonic())
        self._listen_outage.end(now=time.monotonic())
        # Listeners that are no longer starting have read the store before this, so they may have missed messages.
        self.listeners.put_missed()
        self.listeners.put_payloads(payloads)

    def _due_at(self, connection: PostgresConnection) -> float:
        """When something is due, unless the thread is woken before."""
        due_at = [connection.heard_at + KEEPALIVE_S if self.listeners else self._used_at + IDLE_S]
        if self._has_to_send():
            due_at.append(self._send_at)
        if self.listeners and not self.is_listening:
            due_at += (self._report_missed_at, self._listen_at)
        return _LONG_AGO if self._is_closing else min(due_at)

    def _wait(self, deadline: float, connection: PostgresConnection | None = None) -> None:
        """Wait until the thread is woken, or the connection is readable."""
        timeout_s = None if deadline == _NEVER else deadline - time.monotonic()
        descriptors = [self._waker.fileno()]
        if connection is not None:
            descriptors.append(connection.fileno())
        native.wait_for_io(descriptors, timeout_s=timeout_s)
        self._waker.clear()

    def _send_if_due(self, connection: PostgresConnection) -> None:
        if not self._has_to_send() or (time.monotonic() < self._send_at and not self._is_closing):
            return
        self._send_at = time.monotonic() + SEND_EVERY_S
        if not self._sending:
            with self._lock:
                self._sending = self._buffer.take()
        probe.notify(connection, self._address, self._sending)
        self._sending, self._send_error, self._used_at = [], None, time.monotonic()

    def _report_missed_if_due(self) -> None:
        if self.is_listening or time.monotonic() < self._report_missed_at:
            return
        self._report_missed_at = time.monotonic() + MISSED_EVERY_S
        self.listeners.put_missed()

    def _failed(self, error: PostgresUnavailable) -> None:
        """Disconnect and try again: after a good connection at once, and with the payloads that were being sent."""
        if self._connection is not None and time.monotonic() - self._connection.opened_at >= STABLE_S:
            self._failures = 0
        self._disconnect()
        self._failures += 1
        wait_s = 0.1 if self._failures == 1 else min(MAX_RETRY_S, 0.25 * 2 ** (self._failures - 2))
        # Random, so that not all processes connect at the same moment.
        self._connect_at = time.monotonic() + wait_s * uniform(0.5, 1.0)  # noqa: S311 (no secret)
        if self._failures == 1:
            return
        with self._lock:
            if self._has_to_send():
                self._buffer.discard()
            self._sending, self._send_error = [], error
        if self.listeners:
            self._connection_outage.begin(error, now=time.monotonic())

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self.is_listening, self._listen_at = False, _LONG_AGO
        self.listeners.discard_partial_batch()
        if connection is not None:
            connection.close()

    def _has_to_send(self) -> bool:
        return bool(self._buffer or self._sending)

    def _is_needed(self) -> bool:
        return bool(self.listeners) or self._has_to_send()
