"""Limits on how often a client may do something. The time is an argument, in seconds of any clock."""

from collections import deque
from typing import Final

from telltale.core.token_bucket import TokenBucket

MESSAGES_PER_S: Final = 50.0
"""Messages that a client may send in the long run."""

MESSAGE_BURST: Final = 1_500.0
"""Messages that a client may send at once: one that reconnects subscribes to all its channels."""


class MessageBucket(TokenBucket):
    """The rate limit of one client: all its messages and control frames."""

    __slots__ = ()

    rate, burst = MESSAGES_PER_S, MESSAGE_BURST


class EventWindow:
    """At most `limit` events within any second."""

    __slots__ = ("_times",)

    def __init__(self, limit: int) -> None:
        self._times: deque[float] = deque(maxlen=max(0, limit))

    def allows(self, now: float) -> bool:
        """Whether an event may pass now; if so, it is counted."""
        times = self._times
        if len(times) == times.maxlen and (not times or now - times[0] < 1.0):
            return False
        times.append(now)
        return True
