"""Subscriptions of the clients of this process: how one begins, what the client is told, and how it ends.

A subscription begins once the channel's events of other processes are received, so that a client misses nothing
after it was told of its success. Until then it can end again at any moment.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Protocol

from telltale.pusher.protocol import channel_names, messages
from telltale.pusher.protocol.user_data import Member
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.clients.channels import LocalChannels
from telltale.pusher.server.clients.client import PusherClient
from telltale.pusher.server.hooks.hooks import HooksRunner
from telltale.pusher.server.link.links import Link
from telltale.pusher.server.membership.changes import Change
from telltale.pusher.server.membership.membership import Membership

LIMIT_ERROR: Final = "LimitReached"


class SubscriptionHost(Protocol):
    """What subscriptions need from the server."""

    channels: LocalChannels
    membership: Membership
    hooks: HooksRunner
    link: Link

    def announce(self, app: PusherApp, changes: Sequence[Change], *, joined: PusherClient | None = None) -> None:
        """Tell clients and hooks of changes of the site's view."""

    def cached_message(self, app: PusherApp, channel: str) -> str | None:
        """Return the message with a cache channel's last event, if one is kept."""


class Subscriptions:
    """Begins and ends subscriptions. Lives on one event loop."""

    def __init__(self, host: SubscriptionHost) -> None:
        self._host = host
        # Subscriptions that wait for the link. The object tells one from a later one of the same client and channel.
        self._joining: dict[tuple[PusherClient, str], object] = {}

    def begin(self, client: PusherClient, channel: str, member: Member | None) -> None:
        """Subscribe a client; its right to the channel is verified already."""
        client.channels[channel] = member
        key, attempt = (client, channel), object()
        self._joining[key] = attempt
        self._host.link.follow(client.app.id, channel, partial(self._join, key, attempt))

    def end(self, client: PusherClient, channel: str) -> None:
        """End a subscription; harmless if there is none."""
        if channel not in client.channels:
            return
        member = client.channels.pop(channel)
        if self._joining.pop((client, channel), None) is None:
            self._leave(client, channel, member)
        self._host.link.unfollow(client.app.id, channel)

    def _join(self, key: tuple[PusherClient, str], attempt: object) -> None:
        """The channel's events are received: the subscription begins, unless it has ended meanwhile."""
        if self._joining.get(key) is not attempt:
            return
        client, channel = key
        app, host, member = client.app, self._host, client.channels[channel]
        if member is not None and not self._has_room(app, channel, member):
            self.end(client, channel)
            limit = app.limits.presence_members
            text = f"The channel has {limit:,} members, as many as are allowed."
            return client.send(messages.subscription_error(channel, LIMIT_ERROR, text, 4100))
        del self._joining[key]
        host.channels.add(client, channel)
        if channel_names.user_of(channel) is not None:
            return client.send(messages.subscription_succeeded(channel))
        changes = host.membership.join(app.id, channel, member)
        host.hooks.joined(app, channel=channel, socket_id=client.socket_id, **_of_member(member))
        client.send(self._success(app, channel, member))
        if channel_names.is_cache(channel):
            self._send_cached(client, channel)
        host.announce(app, changes, joined=client)

    def _leave(self, client: PusherClient, channel: str, member: Member | None) -> None:
        app, host = client.app, self._host
        host.channels.remove(client, channel)
        if channel_names.user_of(channel) is not None:
            return
        changes = host.membership.leave(app.id, channel, None if member is None else member.user_id)
        host.hooks.left(app, channel=channel, socket_id=client.socket_id, **_of_member(member))
        host.announce(app, changes)

    def _has_room(self, app: PusherApp, channel: str, member: Member) -> bool:
        membership = self._host.membership
        is_full = membership.user_count(app.id, channel) >= app.limits.presence_members
        return not is_full or membership.is_member(app.id, channel, member.user_id)

    def _success(self, app: PusherApp, channel: str, member: Member | None) -> str:
        if member is None:
            return messages.subscription_succeeded(channel)
        members = self._host.membership.members(app.id, channel)
        return messages.subscription_succeeded(channel, messages.presence_data(members))

    def _send_cached(self, client: PusherClient, channel: str) -> None:
        message = self._host.cached_message(client.app, channel)
        if message is None:
            self._host.hooks.cache_miss(client.app, channel)
        client.send(messages.cache_miss(channel) if message is None else message)


def _of_member(member: Member | None) -> dict[str, Any]:
    return {} if member is None else {"user_id": member.user_id, "user_info": member.user_info}
