"""Tells clients of this process what changed on the site: members, numbers of subscribers, users online."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from telltale.pusher.protocol import messages
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.clients.channels import WATCHLISTS, LocalChannels
from telltale.pusher.server.clients.client import PusherClient
from telltale.pusher.server.clients.users import LocalUsers
from telltale.pusher.server.membership.changes import (
    Change,
    CountChanged,
    MemberAdded,
    MemberRemoved,
    UserOffline,
    UserOnline,
)

FEW_SUBSCRIBERS: Final = 100
"""Up to this number of subscribers each change of it is told at once."""

COUNT_EVERY_S: Final = 5.0
"""How often a larger number is told."""


class Announcements:
    """Writes changes to the subscribers and watchers that they concern. Lives on one event loop."""

    def __init__(self, channels: LocalChannels, users: LocalUsers) -> None:
        self._channels, self._users = channels, users
        self._loop = asyncio.get_running_loop()
        # By app and channel: the number of subscribers that is told next, and the timer for that. None: it was told.
        self._counts: dict[tuple[str, str], int | None] = {}

    def announce(self, app: PusherApp, changes: Sequence[Change], *, joined: PusherClient | None = None) -> None:
        """Tell clients of changes in one app. `joined`: the client that caused them by its subscription."""
        for kind, group in groupby(changes, type):
            if kind is UserOnline:
                self._announce_users(app.id, "online", [change.user_id for change in group])  # type: ignore[union-attr]
            elif kind is UserOffline:
                self._announce_users(app.id, "offline", [change.user_id for change in group])  # type: ignore[union-attr]
            else:
                self._announce_channels(app, group, joined)

    def _announce_channels(self, app: PusherApp, changes: Iterable[Change], joined: PusherClient | None) -> None:
        for change in changes:
            match change:
                case MemberAdded(channel=channel, user_id=user_id, user_info=user_info):
                    data = messages.encode({"user_id": user_id, "user_info": user_info})
                    self._send(app.id, channel, "member_added", data, without=joined)
                case MemberRemoved(channel=channel, user_id=user_id):
                    self._send(app.id, channel, "member_removed", messages.encode({"user_id": user_id}))
                case CountChanged(channel=channel, subscription_count=count) if app.has_subscription_counts:
                    self._announce_count(app.id, channel, count)

    def _send(self, app_id: str, channel: str, name: str, data: str, *, without: PusherClient | None = None) -> None:
        if self._channels.subscribers(app_id, channel):
            self._channels.send(app_id, channel, messages.internal(name, channel, data), without=without)

    # The number of subscribers -------------------------------------------------------------------

    def _announce_count(self, app_id: str, channel: str, count: int) -> None:
        """Tell the number now, or within `COUNT_EVERY_S` if it is large and was told a moment ago."""
        channel_id = (app_id, channel)
        if channel_id in self._counts:
            self._counts[channel_id] = count
        else:
            self._send_count(app_id, channel, count)
            if count > FEW_SUBSCRIBERS:
                self._counts[channel_id] = None
                self._loop.call_later(COUNT_EVERY_S, self._send_latest_count, app_id, channel)

    def _send_latest_count(self, app_id: str, channel: str) -> None:
        count = self._counts.pop((app_id, channel))
        if count is not None:
            self._announce_count(app_id, channel, count)

    def _send_count(self, app_id: str, channel: str, count: int) -> None:
        self._send(app_id, channel, "subscription_count", messages.encode({"subscription_count": count}))

    # Watchlists ----------------------------------------------------------------------------------

    def _announce_users(self, app_id: str, name: str, user_ids: Sequence[str]) -> None:
        recipients: dict[tuple[str, ...], list[PusherClient]] = {}
        for client, watched in self._users.watchers(app_id, user_ids).items():
            recipients.setdefault(tuple(watched), []).append(client)
        for ids, clients in recipients.items():
            self._channels.deliver((app_id, WATCHLISTS), watchlist_message([(name, ids)]), clients)

    def announce_watchlist(self, client: PusherClient, online: Sequence[str]) -> None:
        """Tell a client that has just signed in which users of its watchlist are online and which are not."""
        assert client.user is not None  # noqa: S101 (callers have set it)
        present = set(online)
        offline = [user_id for user_id in client.user.watchlist if user_id not in present]
        parts = [(name, user_ids) for name, user_ids in (("online", online), ("offline", offline)) if user_ids]
        if parts:
            client.send(watchlist_message(parts))


def watchlist_message(parts: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return the message that tells which users came ("online") or went ("offline")."""
    events = [{"name": name, "user_ids": list(user_ids)} for name, user_ids in parts]
    return messages.internal("watchlist_events", None, messages.encode({"events": events}))
