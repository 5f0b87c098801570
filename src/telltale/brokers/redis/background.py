"""Something that may hang, tried in a thread of its own, so that whoever needs it waits no longer than they want.

Knows neither Redis nor sockets. Used by the publisher to have lines made.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from telltale import native
from telltale.brokers.base import BrokerUnavailable

T = TypeVar("T")


class Attempt(Generic[T]):
    """Begins when it is made, and ends by itself."""

    def __init__(self, make: Callable[[], T], discard: Callable[[T], None]) -> None:
        """`discard` is given what `make` made if nobody wants it any more."""
        self._make, self._discard = make, discard
        self._lock = native.lock()
        self._ended = native.OneShotEvent()
        self._made: T | None = None
        self._error: BrokerUnavailable | None = None
        self._is_abandoned = False
        try:
            native.start_thread(self._try, name="telltale-redis-connect")
        except RuntimeError as error:
            self._error = BrokerUnavailable(f"No thread could be started to connect to Redis: {error}.")
            self._ended.set()

    def has_ended(self, timeout_s: float) -> bool:
        """Whether it has, after so many seconds at most."""
        return self._ended.wait(timeout_s)

    def result(self) -> T:
        """What was made; raises `BrokerUnavailable` if nothing was. Only once it has ended."""
        if self._made is None:
            raise self._error or BrokerUnavailable("Connecting to Redis has not ended.")
        return self._made

    def abandon(self) -> None:
        """Nobody wants the result any more."""
        with self._lock:
            self._is_abandoned = True
            made, self._made = self._made, None
        if made is not None:
            self._discard(made)

    def _try(self) -> None:
        try:
            made = self._make()
        except Exception as error:
            self._fail(error)
        else:
            self._succeed(made)
        self._ended.set()

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, BrokerUnavailable):
            error = BrokerUnavailable(f"Connecting to Redis failed: {error!r}.")
        self._error = error
        native.destroy_gevent_hub()

    def _succeed(self, made: T) -> None:
        with self._lock:
            is_wanted = not self._is_abandoned
            if is_wanted:
                self._made = made
        if not is_wanted:
            self._discard(made)
