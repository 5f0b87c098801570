"""How much may be sent at a plan's rate: an allowance that grows with time. Time is an argument.

A service bills messages, so progress is held back: of several snapshots of a task only the newest is sent then. Ends,
notices and events are all sent in any case, so they never wait. They use the allowance up, and progress waits longer.
"""

from typing import Final

BURST: Final = 10.0
"""The most that is allowed at a time: one request to the service."""

MAX_DEBT_S: Final = 10.0
"""After ends, notices and events, however many, progress waits for this long and for one more event at most."""


class Allowance:
    """The allowance of one process."""

    def __init__(self, rate_per_s: float, *, now: float) -> None:
        self._rate_per_s = rate_per_s
        self._left, self._counted_at = BURST, now

    def events(self, *, now: float) -> int:
        """Return how many events of progress may be sent now."""
        self._count(now)
        return max(0, int(self._left))

    def spend(self, events: int, *, now: float) -> None:
        """Count events that are sent."""
        self._count(now)
        self._left = max(self._left - events, -MAX_DEBT_S * self._rate_per_s)

    def _count(self, now: float) -> None:
        self._left = min(BURST, self._left + max(0.0, now - self._counted_at) * self._rate_per_s)
        self._counted_at = now
