"""The courier: the one thread and the one connection by which a process sends and hears notifications.

It alone touches the connection. Others leave messages in `Pending` and ring; what is heard goes into the
listeners' queues. There is a connection while somebody listens, or something is to be sent and for a while
after. While the courier does not hear, listeners are told that they miss things, at the pace of a site without
a broker: so pages never wait for a connection that is cut, or deaf.
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
from telltale.brokers.postgres.address import Address
from telltale.brokers.postgres.line import Cut, Line
from telltale.brokers.postgres.listener import Audience, PostgresListener
from telltale.brokers.postgres.pending import Pending
from telltale.core.outage import Outage
from telltale.native import call_after_fork

SEND_EVERY_S: Final = 0.05
"""Between two transactions that notify: each takes a lock that all such commits of the server share."""

LOOK_S: Final = 5.0
"""After such a silence the server is asked for a sign of life."""

IDLE_S: Final = 30.0
"""A connection by which nobody listens is kept for so long after the last message."""

AGAIN_S: Final = 8.0
"""Upper bound of the wait between two tries to connect."""

SETTLED_S: Final = 5.0
"""A connection that lived for so long was a good one: when it is cut, it is made again at once."""

DEAF_S: Final = 60.0
"""Between two tries to hear by a connection that was found deaf."""

CLOSE_S: Final = 1.0
"""How long closing waits for what is still to be sent."""

MISSED_EVERY_S: Final = RECHECK_S[Reach.NOWHERE]
"""How often listeners are told that they miss things, while that is so."""

_LONG_AGO: Final = float("-inf")
_MEANWHILE: Final = f"Meanwhile web processes read what they watch every {MISSED_EVERY_S:g} s."

logger = logging.getLogger("telltale.brokers")


class Courier:
    """Of one process and one address, until closed. Its thread starts with the first use."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = native.lock()
        self._bell = native.SocketWaker()
        self._is_started = self._is_closing = self._has_ended = False
        self.audience = Audience()
        # Shared, under the lock.
        self._pending = Pending()
        self._trouble: Cut | None = None
        # The thread's own to change.
        self._hears = self._is_deaf = False
        self._line: Line | None = None
        self._sending: list[bytes] = []
        self._failures = 0
        self._connect_at = self._send_at = self._hear_at = self._tell_at = self._used_at = _LONG_AGO
        self._cuts = Outage(logger, "The connection that hears PostgreSQL's notifications", _MEANWHILE)
        self._deafness = Outage(logger, "Hearing PostgreSQL's notifications", _MEANWHILE)
        call_after_fork(self)

    # What any thread asks -----------------------------------------------------------------------

    def send(self, messages: Sequence[Message]) -> None:
        """Have `messages` sent within `SEND_EVERY_S`; raises `BrokerUnavailable` while that is known to fail."""
        with self._lock:
            trouble, is_first = self._trouble, not self._pending
            if trouble is not None:
                self._pending.lose()
            else:
                for message in messages:
                    self._pending.add(message)
        self._start()
        if is_first:
            self._bell.wake()
        if trouble is not None:
            raise BrokerUnavailable(f"PostgreSQL can't be notified: {trouble}")

    def add(self, listener: PostgresListener, *, patience_s: float) -> None:
        """Hand it whatever is heard; returns once it hears, or when that is known to fail or takes too long."""
        self.audience.add(listener)
        self._start()
        self._bell.wake()
        until = time.monotonic() + patience_s
        while not (self._hears or self._is_deaf or self._trouble) and time.monotonic() < until:
            native.sleep(0.002)
        listener.is_awaited = False

    def close(self) -> None:
        """Close all listeners, send what is left within `CLOSE_S`, and hang up."""
        self.audience.close()
        self._is_closing = True
        self._bell.wake()
        if not self._is_started:
            self._bell.close()
            return
        until = time.monotonic() + CLOSE_S
        while not self._has_ended and time.monotonic() < until:
            native.sleep(0.002)

    def after_fork(self) -> None:
        """The thread and the connection are the parent's: the child's broker makes itself another courier."""
        self._lock = native.lock()
        self.audience.after_fork()
        self._bell.close()
        if self._line is not None:
            self._line.after_fork()

    def _start(self) -> None:
        with self._lock:
            if self._is_started:
                return
            try:
                native.start_thread(self._work, name="telltale-postgres")
            except RuntimeError as error:
                raise BrokerUnavailable(
                    f"No thread could be started for PostgreSQL's notifications: {error}."
                ) from error
            self._is_started = True

    # What the thread does -----------------------------------------------------------------------

    def _work(self) -> None:
        while not self._is_closing or (self._has_to_send() and self._trouble is None):
            try:
                self._step()
            except Cut as error:
                self._cut(error)
            except Exception as error:
                # Such as a site's own way to a password. Whatever it was: without this thread all would be deaf.
                if self._failures == 0:
                    logger.exception("Sending and hearing PostgreSQL's notifications failed; it is tried again.")
                self._cut(Cut(f"{type(error).__name__}, see the log."))
        self._hang_up()
        self._bell.close()
        self._has_ended = True

    def _step(self) -> None:
        """Wait until something is to be done, and do it."""
        line = self._line or self._connected()
        if line is None:
            return
        if self.audience and not self._hears and time.monotonic() >= self._hear_at:
            self._begin_to_hear(line)
        self._await(self._due_at(line), line)
        self._send(line)
        if self.audience and time.monotonic() - line.answered_at >= LOOK_S:
            line.ask(b"SELECT 1")
        # Last: what came along with an answer would not wake this thread.
        self.audience.hears(line.heard())
        self._tell_of_deafness()
        if not self._is_used() and time.monotonic() - self._used_at >= IDLE_S:
            self._hang_up()

    def _connected(self) -> Line | None:
        """A new connection, if there is use for one and it is time to try; else waits for that."""
        if not self._is_used():
            self._trouble = None
            self._await(float("inf"))
            return None
        if time.monotonic() < self._connect_at:
            self._await(min(self._connect_at, self._tell_at if self.audience else float("inf")))
            self._tell_of_deafness()
            return None
        self._line, self._used_at = Line.open(self._address.conninfo()), time.monotonic()
        if not self._has_to_send():
            self._trouble = None
        return self._line

    def _begin_to_hear(self, line: Line) -> None:
        try:
            heard = probe.begin(line, self._address)
        except probe.Deaf as error:
            self._is_deaf, self._hear_at = True, time.monotonic() + DEAF_S
            self._cuts.end(now=time.monotonic())
            self._deafness.begin(error, now=time.monotonic())
            return
        self._hears, self._is_deaf = True, False
        self._cuts.end(now=time.monotonic())
        self._deafness.end(now=time.monotonic())
        # Whoever is no longer awaited began before this, and has read the store since.
        self.audience.misses()
        self.audience.hears(heard)

    def _due_at(self, line: Line) -> float:
        """When there is something to do, if nothing happens before."""
        at = [line.answered_at + LOOK_S if self.audience else self._used_at + IDLE_S]
        if self._has_to_send():
            at.append(self._send_at)
        if self.audience and not self._hears:
            at += (self._tell_at, self._hear_at)
        return _LONG_AGO if self._is_closing else min(at)

    def _await(self, until: float, line: Line | None = None) -> None:
        """Wait for the bell and the line."""
        timeout_s = None if until == float("inf") else until - time.monotonic()
        fds = [self._bell.fileno()] if line is None else [self._bell.fileno(), line.fileno()]
        native.wait_for_io(fds, timeout_s=timeout_s)
        self._bell.clear()

    def _send(self, line: Line) -> None:
        """Send what is pending, if that is due."""
        if not self._has_to_send() or (time.monotonic() < self._send_at and not self._is_closing):
            return
        self._send_at = time.monotonic() + SEND_EVERY_S
        if not self._sending:
            with self._lock:
                self._sending = self._pending.take()
        probe.notify(line, self._address, self._sending)
        self._sending, self._trouble, self._used_at = [], None, time.monotonic()

    def _tell_of_deafness(self) -> None:
        if self._hears or time.monotonic() < self._tell_at:
            return
        self._tell_at = time.monotonic() + MISSED_EVERY_S
        self.audience.misses()

    def _cut(self, error: Cut) -> None:
        """Hang up and try again: at once after a connection that was good, and then with what was being sent."""
        if self._line is not None and time.monotonic() - self._line.opened_at >= SETTLED_S:
            self._failures = 0
        self._hang_up()
        self._failures += 1
        wait_s = 0.1 if self._failures == 1 else min(AGAIN_S, 0.25 * 2 ** (self._failures - 2))
        # Not all processes at one moment.
        self._connect_at = time.monotonic() + wait_s * uniform(0.5, 1.0)  # noqa: S311 (no secret)
        if self._failures == 1:
            return
        with self._lock:
            if self._has_to_send():
                self._pending.lose()
            self._sending, self._trouble = [], error
        if self.audience:
            self._cuts.begin(error, now=time.monotonic())

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        self._hears, self._hear_at = False, _LONG_AGO
        self.audience.is_cut_off()
        if line is not None:
            line.close()

    def _has_to_send(self) -> bool:
        return bool(self._pending or self._sending)

    def _is_used(self) -> bool:
        return bool(self.audience) or self._has_to_send()
