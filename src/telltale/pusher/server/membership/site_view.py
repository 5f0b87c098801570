"""The union of what all processes report: who is where on the whole site. Pure.

Every modification of an entry of one process becomes the changes of the site that it causes, so the changes of a
channel or member alternate whatever the order in which processes are heard.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

from telltale.pusher.server.membership.changes import (
    Change,
    ChannelOccupied,
    ChannelVacated,
    CountChanged,
    MemberAdded,
    MemberRemoved,
    UserOffline,
    UserOnline,
)
from telltale.pusher.server.membership.entries import ABSENT, COUNT, MEMBER, USER, Key, Modification

Holders: TypeAlias = tuple[tuple[str, Any], ...]
"""The processes that report a member or user, in the order of their ids, each with the value that it reports."""


class AppView:
    """One app's channels, members and users online."""

    __slots__ = ("counts", "members", "online")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        """Channel → subscriptions; without presence channels, and without channels that have none."""
        self.members: dict[str, dict[str, Holders]] = {}
        """Presence channel → user's id → processes; without channels that have no members."""
        self.online: dict[str, Holders] = {}
        """User's id → processes."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept."""
        return not (self.counts or self.members or self.online)


_EMPTY = AppView()


class SiteView:
    """All apps. `apply` takes modifications of one process's entries and returns the site's changes."""

    def __init__(self) -> None:
        self._apps: dict[str, AppView] = {}

    def app(self, app_id: str) -> AppView:
        """The view of an app, to be read only."""
        return self._apps.get(app_id, _EMPTY)

    def apply(self, process: str, modifications: Iterable[Modification]) -> list[Change]:
        """Apply modifications of the entries of `process`."""
        changes: list[Change] = []
        for key, old, new in modifications:
            kind, app_id, _, _ = key
            app = self._apps.get(app_id)
            if app is None:
                app = self._apps[app_id] = AppView()
            if kind == COUNT:
                changes += _count(app, key, (0 if new is ABSENT else new) - (0 if old is ABSENT else old))
            elif kind == MEMBER:
                changes += _member(app, key, process, new)
            elif kind == USER:
                changes += _user(app, key, process, new)
            if app.is_empty:
                del self._apps[app_id]
        return changes


def _count(app: AppView, key: Key, difference: int) -> list[Change]:
    _, app_id, channel, _ = key
    if not difference:
        return []
    before = app.counts.get(channel, 0)
    count = before + difference
    changes: list[Change] = [CountChanged(app_id=app_id, channel=channel, subscription_count=count)]
    if count:
        app.counts[channel] = count
    else:
        del app.counts[channel]
        changes.append(ChannelVacated(app_id=app_id, channel=channel))
    return changes if before else [ChannelOccupied(app_id=app_id, channel=channel), *changes]


def _member(app: AppView, key: Key, process: str, info: Any) -> list[Change]:
    _, app_id, channel, user_id = key
    members = app.members.setdefault(channel, {})
    was_occupied = bool(members)
    moved = _hold(members, user_id, process, info)
    if not members:
        del app.members[channel]
    if not moved:
        return []
    if user_id not in members:
        removed = MemberRemoved(app_id=app_id, channel=channel, user_id=user_id)
        return [removed] if members else [removed, ChannelVacated(app_id=app_id, channel=channel)]
    added = MemberAdded(app_id=app_id, channel=channel, user_id=user_id, user_info=info)
    return [added] if was_occupied else [ChannelOccupied(app_id=app_id, channel=channel), added]


def _user(app: AppView, key: Key, process: str, value: Any) -> list[Change]:
    _, app_id, user_id, _ = key
    if not _hold(app.online, user_id, process, value):
        return []
    is_online = user_id in app.online
    return [UserOnline(app_id=app_id, user_id=user_id) if is_online else UserOffline(app_id=app_id, user_id=user_id)]


def _hold(holders_of: dict[str, Holders], user_id: str, process: str, value: Any) -> bool:
    """Note that `process` reports the user with this value, or no longer; whether the user came or left thereby."""
    before = holders_of.get(user_id, ())
    others = [holder for holder in before if holder[0] != process]
    holders = others if value is ABSENT else sorted([*others, (process, value)], key=lambda holder: holder[0])
    if holders:
        holders_of[user_id] = tuple(holders)
    else:
        holders_of.pop(user_id, None)
    return bool(before) != bool(holders)
