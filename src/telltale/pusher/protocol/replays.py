"""Requests to the HTTP API that are sent a second time, by an attacker who recorded them, are refused.

The signature alone can't tell: a client that publishes the same event twice within one second signs the same text
twice, because timestamps are whole seconds. Such requests arrive together, so the same signature is accepted again
for `GRACE_S` after its first arrival, and refused from then on. The hosted service accepts it for 600 s.

Limits: within the grace a recorded request works again; each process remembers only its own requests; beyond
`MAX_SIGNATURES` the oldest are forgotten. Use TLS, so that nobody can record requests.
"""

from typing import Final

from telltale.pusher.protocol.signatures import CLOCK_TOLERANCE_S

GRACE_S: Final = 5.0
"""Two requests that were signed in the same second may arrive this far apart."""

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

    def admit(self, app_id: str, signature: str, *, now: float) -> bool:
        """Whether the request may take effect; `signature` was verified, `now` is in seconds by any clock."""
        arrivals = self._first_arrivals.setdefault(app_id, {})
        first_at = arrivals.setdefault(bytes.fromhex(signature), now)
        self._forget(arrivals, now)
        return now - first_at <= GRACE_S

    def _forget(self, arrivals: dict[bytes, float], now: float) -> None:
        while arrivals:
            oldest = next(iter(arrivals))
            if len(arrivals) <= self._max_signatures and now - arrivals[oldest] <= KEEP_S:
                return
            del arrivals[oldest]
