"""Limits on how often a client may do something. The time is an argument, in seconds of any clock."""

from collections import deque
from dataclasses import dataclass
from typing import Final

MESSAGES_PER_S: Final = 50.0
"""Messages that a client may send in the long run."""

MESSAGE_BURST: Final = 1_500.0
"""Messages that a client may send at once: one that reconnects subscribes to all its channels."""


@dataclass(slots=True)
class MessageBucket:
    """Tokens for all messages of one client, refilled at `MESSAGES_PER_S` up to `MESSAGE_BURST`."""

    filled_at: float
    tokens: float = MESSAGE_BURST

    def spend(self, now: float) -> bool:
        """Take a token for one message or control frame; False if there is none left."""
        self.tokens = min(MESSAGE_BURST, self.tokens + max(0.0, now - self.filled_at) * MESSAGES_PER_S)
        self.filled_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


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
