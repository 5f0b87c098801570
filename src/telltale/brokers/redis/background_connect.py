"""Connecting in a thread of its own, so that a publisher waits for at most as long as it wants.

Knows neither Redis nor sockets. Used by the publisher.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from telltale import native
from telltale.brokers.base import BrokerUnavailable

T = TypeVar("T")


class BackgroundConnect(Generic[T]):
    """One call of `connect` in a thread, which starts at once."""

    def __init__(self, connect: Callable[[], T], discard: Callable[[T], None]) -> None:
        """`discard` is called with the result of `connect` if it is no longer wanted."""
        self._connect, self._discard = connect, discard
        self._lock = native.lock()
        self._ended = native.OneShotEvent()
        self._result: T | None = None
        self._error: BrokerUnavailable | None = None
        self._is_abandoned = False
        try:
            native.start_thread(self._run, name="telltale-redis-connect")
        except RuntimeError as error:
            self._error = BrokerUnavailable(f"No thread could be started to connect to Redis: {error}.")
            self._ended.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of the call, for at most `timeout_s`; return whether it has ended."""
        return self._ended.wait(timeout_s)

    def result(self) -> T:
        """The result of a call that has ended; raises `BrokerUnavailable` if it failed."""
        if self._result is None:
            raise self._error or BrokerUnavailable("Connecting to Redis has not ended.")
        return self._result

    def abandon(self) -> None:
        """Discard the result, now or when the call ends."""
        with self._lock:
            self._is_abandoned = True
            result, self._result = self._result, None
        if result is not None:
            self._discard(result)

    def _run(self) -> None:
        try:
            result = self._connect()
        except Exception as error:
            self._fail(error)
        else:
            self._succeed(result)
        self._ended.set()

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, BrokerUnavailable):
            error = BrokerUnavailable(f"Connecting to Redis failed: {error!r}.")
        self._error = error
        native.destroy_gevent_hub()

    def _succeed(self, result: T) -> None:
        with self._lock:
            is_wanted = not self._is_abandoned
            if is_wanted:
                self._result = result
        if not is_wanted:
            self._discard(result)
