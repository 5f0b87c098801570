"""Requests to the HTTP API that are sent a second time, by an attacker who recorded them, are refused.

The signature alone can't tell: a client that publishes the same event twice within one second signs the same text
twice, because timestamps are whole seconds. Such requests arrive together and soon after their timestamp, so only
then the same signature is accepted again. The hosted service accepts it for 600 s.

Limits: right after the first request a recorded one works again; each process remembers only its own requests; beyond
`MAX_SIGNATURES` the oldest are forgotten. Use TLS, so that requests can't be recorded. A client whose clock is wrong by
more than `CLOCK_GRACE_S` can't publish the same event twice in one second: the second is refused, with the reason.
"""

from typing import Final

from telltale.pusher.protocol.signatures import CLOCK_TOLERANCE_S

GRACE_S: Final = 5.0
"""Two requests that were signed in the same second may arrive this far apart."""

CLOCK_GRACE_S: Final = 30.0
"""Such a request's timestamp differs at most by this from the server's clock."""

KEEP_S: Final = 2 * CLOCK_TOLERANCE_S
"""After this long the timestamp of every request is too old, even of one from a clock that was ahead."""

MAX_SIGNATURES: Final = 50_000
"""Signatures that are remembered for each app: about 8 MB."""


class Replays:
    """The signatures of accepted requests, by app."""

    def __init__(self, *, max_signatures: int = MAX_SIGNATURES) -> None:
        self._max_signatures = max_signatures
        self._first_arrivals: dict[str, dict[bytes, float]] = {}
        """By app and signature, oldest first."""

    def admit(self, app_id: str, signature: str, *, timestamp: float, now: float) -> bool:
        """Whether a request may take effect. `signature`: verified; `timestamp`: signed; both times since 1970."""
        arrivals = self._first_arrivals.setdefault(app_id, {})
        key = bytes.fromhex(signature)
        first_at = arrivals.get(key)
        if first_at is None:
            arrivals[key] = now
            self._forget(arrivals, now)
            return True
        return now - first_at <= GRACE_S and abs(now - timestamp) <= CLOCK_GRACE_S

    def _forget(self, arrivals: dict[bytes, float], now: float) -> None:
        while arrivals:
            oldest = next(iter(arrivals))
            if len(arrivals) <= self._max_signatures and now - arrivals[oldest] <= KEEP_S:
                return
            del arrivals[oldest]
