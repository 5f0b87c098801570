"""Health: how a running task is doing, from its two clocks; and whether a task can be cancelled.

Health is never stored or sent. It is worked out when a snapshot is shown, so a page can show "lost contact" although
no message can tell it so. `health.js` has the same rules for the browser; both are tested with the same cases.
"""

from dataclasses import dataclass
from typing import Final

from telltale.core.snapshot import Snapshot
from telltale.core.states import Health, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The thresholds, in seconds. `conf.settings().limits` are the site's."""

    quiet_s: float = 60.0
    """Without progress for longer than this: quiet."""
    stalled_s: float = 45.0
    """Without a beat for longer than this: stalled."""
    lease_s: float = 105.0
    """Without a beat for longer than this a task is lost. `health` does not use it; clients are told."""

    def to_json(self) -> dict[str, float]:
        """Return plain JSON values, as clients get them."""
        return {name: getattr(self, name) for name in self.__slots__}


def health(snapshot: Snapshot, *, now: float, limits: Limits) -> Health | None:
    """The health at `now` (seconds, the store's clock); None unless the task is running.

    The worst that applies: stalled, then slow, then quiet. So a task that hangs is quiet at first, and slow once it has
    taken longer than nearly all earlier runs; while its process lives it is never lost.
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


MISSING_S: Final = 60.0
"""A waiting task that is missing for longer than this may have been lost by its runner: a page says so."""


def may_be_lost(snapshot: Snapshot, *, now: float) -> bool:
    """Whether the runner of a waiting task has probably lost it, so that no worker will begin it."""
    is_waiting = snapshot.state in (State.QUEUED, State.RETRYING)
    return is_waiting and snapshot.missing_since is not None and now - snapshot.missing_since > MISSING_S


def offers_cancel(snapshot: Snapshot) -> bool:
    """Whether a page shows the button that cancels; it is disabled while `can_cancel` is False.

    Until the task has ended or its cancellation was requested: then there is nothing more to ask.
    """
    return not snapshot.ended and not snapshot.cancel_requested


def can_cancel(snapshot: Snapshot) -> bool:
    """Whether a request to cancel would have an effect now. `no_cancel` is the task's own reason why not.

    Health does not count. A request has an effect on a stalled task too: if its worker recovers, the task stops at
    the worker's next save; if not, no redelivery runs the task again.
    """
    return offers_cancel(snapshot) and snapshot.no_cancel is None
