"""A limit on how often a client may do something: a bucket of tokens that is refilled at a steady rate.

The time is an argument, in seconds of any clock. `transports/websocket.py` and the Pusher server subclass it.
"""

from typing import ClassVar


class TokenBucket:
    """At most `burst` at once, and `rate` a second in the long run; a subclass sets both."""

    __slots__ = ("filled_at", "tokens")

    rate: ClassVar[float]
    burst: ClassVar[float]

    def __init__(self, filled_at: float, tokens: float | None = None) -> None:
        """`tokens`: how many are left; None: the bucket is full."""
        self.filled_at = filled_at
        self.tokens = self.burst if tokens is None else tokens

    def spend(self, now: float) -> bool:
        """Take a token; False if there is none left."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True
