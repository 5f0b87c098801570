"""Health: how a running task is doing, from its two clocks.

It is never stored or sent: whoever shows a snapshot works it out at that moment, so that a page shows "lost
contact" though nobody can tell it so. `health.js` is its twin in the browser; both are tested on the same cases.
"""

from dataclasses import dataclass
from typing import Protocol, Self

from telltale.core.snapshot import Snapshot
from telltale.core.states import Health, State


class HasLimits(Protocol):
    """Where the limits come from: `Limits`, or the settings themselves."""

    @property
    def quiet_s(self) -> float:
        """Without progress for longer than this: quiet."""

    @property
    def stalled_s(self) -> float:
        """Without a beat for longer than this: stalled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The thresholds, in seconds."""

    quiet_s: float = 60.0
    stalled_s: float = 45.0
    lease_s: float = 105.0

    @classmethod
    def of(cls, settings: object) -> Self:
        """Those of anything that has attributes of these names."""
        return cls(**{name: getattr(settings, name) for name in cls.__slots__})

    def to_json(self) -> dict[str, float]:
        """As a client is told them."""
        return {name: getattr(self, name) for name in self.__slots__}


def health(snapshot: Snapshot, *, now: float, limits: HasLimits) -> Health | None:
    """The health at `now` (seconds, the store's clock); None unless it is running.

    The worst that holds: stalled, then slow, then quiet. So a task that hangs is quiet at first, and slow once it has
    taken longer than nearly all before it; while its process lives it is never lost.
    """
    if snapshot.state is not State.RUNNING:
        return None
    started_at = snapshot.started_at if snapshot.started_at is not None else snapshot.created_at
    beat_at = snapshot.beat_at if snapshot.beat_at is not None else started_at
    moved_at = snapshot.moved_at if snapshot.moved_at is not None else started_at
    if now - beat_at > limits.stalled_s:
        return Health.STALLED
    if snapshot.usual_s is not None and now - started_at > snapshot.usual_s[1]:
        return Health.SLOW
    if now - moved_at > limits.quiet_s:
        return Health.QUIET
    return Health.OK
