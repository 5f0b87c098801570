"""The site's own code hears of what clients do: webhooks to the app's targets, Django signals inside the process.

`PusherServer` calls this one object. Receivers and targets run on other threads; every method here returns at once,
`close` excepted. Plan: `webhook_plan.py`. Webhooks: `webhook_sender.py`. Signals: `signals.py`.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from django.dispatch import Signal

from telltale.pusher import signals
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.hooks.counts import HookCounts
from telltale.pusher.server.hooks.events import HookEvent, client_event_data
from telltale.pusher.server.hooks.signals import SignalRunner
from telltale.pusher.server.hooks.webhook_plan import WebhookPlan
from telltale.pusher.server.hooks.webhook_sender import WebhookSender
from telltale.pusher.server.membership.changes import Change

TICK_S: Final = 0.25
"""`tick` is called at least so often."""

SIGNALS: Final[dict[str, Signal]] = {
    "channel_occupied": signals.channel_occupied,
    "channel_vacated": signals.channel_vacated,
    "member_added": signals.member_added,
    "member_removed": signals.member_removed,
    "client_event": signals.client_event,
    "cache_miss": signals.cache_miss,
    "subscription_count": signals.subscription_count,
}


class Leadership(Protocol):
    """Which process of the site sends what is sent once for the site. `Membership` says so."""

    @property
    def is_leader(self) -> bool:
        """Whether this process leads. False until others, if there are any, would have been heard."""

    @property
    def leader_heard_at(self) -> float | None:
        """When the process that leads was last heard, by the clock of `now`; None before that."""


class HooksRunner:
    """One for each `PusherServer`; used on its event loop. `now`: seconds of one monotonic clock."""

    def __init__(self, leadership: Leadership, *, webhooks: WebhookSender | None = None) -> None:
        self._leadership = leadership
        self._plan = WebhookPlan()
        self._webhooks = webhooks or WebhookSender()
        self._signals = SignalRunner()
        self._apps: dict[str, PusherApp] = {}
        """By id: the newest values of apps that had changes."""

    @property
    def counts(self) -> HookCounts:
        """Webhook events sent, retried and dropped, by app id."""
        return self._webhooks.counts

    @property
    def dropped_signals(self) -> int:
        """Signals that were dropped because their receivers were too slow."""
        return self._signals.dropped.total

    def on_changes(self, app: PusherApp, changes: Iterable[Change], now: float) -> None:
        """Plan the events of these changes of the site's view, which are the app's; send what is due."""
        if not _has_listeners(app):
            return
        self._apps[app.id] = app
        self._plan.add(app, changes, now)
        self.tick(now)

    def tick(self, now: float) -> None:
        """Send what became due as time passed, if this process leads. Call it every `TICK_S`."""
        leadership = self._leadership
        events = self._plan.take(now, is_leader=leadership.is_leader, leader_heard_at=leadership.leader_heard_at)
        self._send(events)

    def client_event(
        self, app: PusherApp, *, event: str, channel: str, data: Any, socket_id: str, user_id: str | None
    ) -> None:
        """A client of this process sent an event to a channel. `user_id`: its own, on presence channels."""
        if _wants(app, "client_event"):
            text = client_event_data(data)
            self._send_here(
                app,
                HookEvent(
                    app_id=app.id,
                    name="client_event",
                    channel=channel,
                    event=event,
                    data=text,
                    socket_id=socket_id,
                    user_id=user_id,
                ),
            )

    def cache_miss(self, app: PusherApp, channel: str) -> None:
        """A client of this process subscribed to a cache channel that has no event."""
        self._send_here(app, HookEvent(app_id=app.id, name="cache_miss", channel=channel))

    def joined(
        self, app: PusherApp, *, channel: str, socket_id: str, user_id: str | None = None, user_info: Any = None
    ) -> None:
        """A connection of this process subscribed. `user_id`, `user_info`: the member's, on presence channels."""
        self._signals.send(
            signals.channel_joined,
            app_id=app.id,
            channel=channel,
            socket_id=socket_id,
            user_id=user_id,
            user_info=user_info,
        )

    def left(
        self, app: PusherApp, *, channel: str, socket_id: str, user_id: str | None = None, user_info: Any = None
    ) -> None:
        """A connection of this process unsubscribed, or ended."""
        self._signals.send(
            signals.channel_left,
            app_id=app.id,
            channel=channel,
            socket_id=socket_id,
            user_id=user_id,
            user_info=user_info,
        )

    async def close(self, now: float, *, is_last: bool) -> None:
        """Send what is queued, within some seconds, and end the threads. Call it after all clients have gone.

        `is_last`: no other process of the site is known. Then events that wait for a client's return are sent now;
        otherwise another process sends them.
        """
        if is_last:
            self._plan.settle_now()
            self._send(self._plan.take(now, is_leader=True, leader_heard_at=None))
        else:
            self.tick(now)
        await asyncio.gather(asyncio.to_thread(self._webhooks.close), asyncio.to_thread(self._signals.close))

    def _send_here(self, app: PusherApp, event: HookEvent) -> None:
        """Send an event that only this process knows of."""
        self._apps[app.id] = app
        self._send([event])

    def _send(self, events: Sequence[HookEvent]) -> None:
        by_app: dict[str, list[HookEvent]] = {}
        for event in events:
            by_app.setdefault(event.app_id, []).append(event)
            self._signals.send(SIGNALS[event.name], app_id=event.app_id, **event.signal_arguments())
        for app_id, events_of_app in by_app.items():
            self._webhooks.send(self._apps[app_id], events_of_app)


def _wants(app: PusherApp, name: str) -> bool:
    """Whether a webhook target or a receiver hears events of this name."""
    return bool(SIGNALS[name].receivers) or any(
        target.events is None or name in target.events for target in app.webhooks
    )


def _has_listeners(app: PusherApp) -> bool:
    return bool(app.webhooks) or any(signal.receivers for signal in SIGNALS.values())
