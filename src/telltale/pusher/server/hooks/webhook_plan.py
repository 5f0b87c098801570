"""Which webhook events follow from changes of the site's view, and when; and which process sends them. No I/O.

`channel_vacated` and `member_removed` wait until the app's settling time has passed. If the channel or the member is
back by then, neither the leaving nor the return is an event: the reload of a page fires nothing.

Every process plans the same events, because every process sees the whole site, and the leader alone sends them. The
others keep what they planned until the leader is known to have lived long enough to send it. If the leader dies, the
next leader sends what it kept: an event of the last seconds may then be sent twice, and is not lost. The same holds if
the leader is stopped. Only events that a dead leader was still retrying, because their target failed, are lost with
it. If the site's processes are cut off from each other, each part has a leader, which sends what that part sees.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.hooks.events import HookEvent
from telltale.pusher.server.membership.changes import (
    Change,
    ChannelOccupied,
    ChannelVacated,
    CountChanged,
    MemberAdded,
    MemberRemoved,
)

LEADER_SENDS_S: Final = 5.0
"""A leader heard this long after it planned an event has sent it: a batch waits 0.25 s, and a request takes 4 s."""

KEPT_EVENTS: Final = 50_000
"""At most this many events are kept for the case that the leader dies; the oldest are dropped first."""

LARGE_COUNT: Final = 100
"""Above this number of subscribers, a channel's count is an event only every `COUNT_EVERY_S`."""

COUNT_EVERY_S: Final = 5.0

_Place: TypeAlias = tuple[str, str | None]
"""A channel and a member's id, or None for the channel itself."""


@dataclass(slots=True)
class _Count:
    """The last count of a large channel was planned less than `COUNT_EVERY_S` ago."""

    next_at: float
    latest: HookEvent | None = None
    """The newest count since."""


class WebhookPlan:
    """The plan of one process, for all apps. All times are readings of this process's one monotonic clock."""

    def __init__(self) -> None:
        self.forgotten = 0
        """How many events were dropped because of `KEPT_EVENTS`."""
        self._leaving: dict[str, dict[_Place, tuple[float, HookEvent]]] = {}
        """By app: the events that wait, with the time when each is due, in the order of that time."""
        self._counts: dict[tuple[str, str], _Count] = {}
        self._planned: deque[tuple[float, HookEvent]] = deque()

    def add(self, app: PusherApp, changes: Iterable[Change], now: float) -> None:
        """Plan the events that follow from the changes, which are of this app."""
        # First what is due: a client that comes back after the settling time is new.
        self._plan_due(now)
        for change in changes:
            match change:
                case ChannelOccupied():
                    self._came(HookEvent(app_id=app.id, name="channel_occupied", channel=change.channel), now)
                case ChannelVacated():
                    self._left(app, HookEvent(app_id=app.id, name="channel_vacated", channel=change.channel), now)
                case MemberAdded():
                    self._came(_member_event(change, "member_added", change.user_info), now)
                case MemberRemoved():
                    self._left(app, _member_event(change, "member_removed"), now)
                case CountChanged() if app.has_subscription_counts:
                    self._counted(change, now)

    def take(self, now: float, *, is_leader: bool, leader_heard_at: float | None) -> list[HookEvent]:
        """Return the events to send now, in order: none unless this process leads.

        `leader_heard_at`: when the process that leads was last heard; None if there was none yet.
        """
        self._plan_due(now)
        if not is_leader:
            self._forget(leader_heard_at)
            return []
        events = [event for _planned_at, event in self._planned]
        self._planned.clear()
        return events

    def settle_now(self) -> None:
        """Make waiting events due: the site's last process stops, and no other process will send them."""
        for waiting in self._leaving.values():
            for place, (_due_at, event) in waiting.items():
                waiting[place] = (float("-inf"), event)

    def _came(self, event: HookEvent, now: float) -> None:
        waiting = self._leaving.get(event.app_id, {})
        if waiting.pop((event.channel, event.user_id), None) is None:
            self._plan(event, now)

    def _left(self, app: PusherApp, event: HookEvent, now: float) -> None:
        waiting = self._leaving.setdefault(app.id, {})
        waiting.setdefault((event.channel, event.user_id), (now + app.webhook_settle_s, event))

    def _counted(self, change: CountChanged, now: float) -> None:
        place = (change.app_id, change.channel)
        number = change.subscription_count
        event = HookEvent(
            app_id=change.app_id, name="subscription_count", channel=change.channel, subscription_count=number
        )
        if number <= LARGE_COUNT:
            self._counts.pop(place, None)
        elif place in self._counts:
            self._counts[place].latest = event
            return
        else:
            self._counts[place] = _Count(now + COUNT_EVERY_S)
        self._plan(event, now)

    def _plan_due(self, now: float) -> None:
        """Plan what has waited long enough. Costs the number of events that are due, and of apps where some wait."""
        for app_id, waiting in list(self._leaving.items()):
            while waiting and (due := next(iter(waiting.items())))[1][0] <= now:
                del waiting[due[0]]
                self._plan(due[1][1], now)
            if not waiting:
                del self._leaving[app_id]
        while self._counts and next(iter(self._counts.values())).next_at <= now:
            self._plan_latest_count(next(iter(self._counts)), now)

    def _plan_latest_count(self, place: tuple[str, str], now: float) -> None:
        latest = self._counts.pop(place).latest
        if latest is not None:
            self._counts[place] = _Count(now + COUNT_EVERY_S)  # At the end: the dict is in the order of `next_at`.
            self._plan(latest, now)

    def _plan(self, event: HookEvent, now: float) -> None:
        self._planned.append((now, event))

    def _forget(self, leader_heard_at: float | None) -> None:
        """Drop what the leader has sent, and what exceeds the limit."""
        sent_until = float("-inf") if leader_heard_at is None else leader_heard_at - LEADER_SENDS_S
        while self._planned and self._planned[0][0] <= sent_until:
            self._planned.popleft()
        while len(self._planned) > KEPT_EVENTS:
            self._planned.popleft()
            self.forgotten += 1


def _member_event(change: MemberAdded | MemberRemoved, name: str, user_info: object = None) -> HookEvent:
    return HookEvent(
        app_id=change.app_id, name=name, channel=change.channel, user_id=change.user_id, user_info=user_info
    )
