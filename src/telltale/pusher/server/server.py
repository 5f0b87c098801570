"""The stand-in server of one event loop: it joins its parts, and is what clients and the HTTP API call.

`clients/client_messages.py` has verified what clients ask for, `api/` what servers send. What changes on the site,
here or in another process, goes through `announce` to clients, webhooks and Django signals.
"""

import asyncio
import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from telltale.pusher.protocol import channel_names, messages
from telltale.pusher.protocol.api_events import ApiEvent
from telltale.pusher.protocol.close_codes import (
    CLIENT_EVENT_REFUSED,
    RESTARTING_LATER,
    TERMINATED,
)
from telltale.pusher.protocol.user_data import Member, User
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.clients.announcements import Announcements
from telltale.pusher.server.clients.channels import LocalChannels
from telltale.pusher.server.clients.client import Outlet, PusherClient
from telltale.pusher.server.clients.connections import Connections
from telltale.pusher.server.clients.subscriptions import Subscriptions
from telltale.pusher.server.clients.sweep import check_clients, close_clients
from telltale.pusher.server.clients.users import LocalUsers
from telltale.pusher.server.fallback.fallback import Fallback
from telltale.pusher.server.hooks.hooks import TICK_S, HooksRunner
from telltale.pusher.server.known_apps import KnownApps
from telltale.pusher.server.link.last_events import LastEvents
from telltale.pusher.server.link.links import Link
from telltale.pusher.server.link.site_link import SiteLink, is_alone
from telltale.pusher.server.membership.changes import Change
from telltale.pusher.server.membership.membership import Membership

logger = logging.getLogger(__name__)

CHECK_EVERY_S: Final = 1.0
"""How often connections are checked for what becomes due by time alone."""


class PusherServer:
    """Satisfies `ClientHost`, `SubscriptionHost`, `LinkHost` and `ApiHost`. Every method returns at once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.channels = LocalChannels()
        self.users = LocalUsers()
        self.membership = Membership(secrets.token_hex(8), is_alone=is_alone())
        self.last_events = LastEvents(self.membership.process)
        self.link: Link = SiteLink(self, self.membership, self.last_events)
        self.fallback = Fallback(self)
        self.hooks = HooksRunner(self.membership)
        self.counts: Counter[str] = Counter()
        """Totals: opened, and closed by code."""
        self._connections = Connections()
        self._subscriptions = Subscriptions(self)
        self._announcements = Announcements(self.channels, self.users)
        self._ticking = asyncio.ensure_future(self._tick())
        self._draining: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._apps = KnownApps(self)

    def now(self) -> float:
        """Return the time, in seconds of a clock that never goes back."""
        return time.monotonic()

    # Clients -------------------------------------------------------------------------------------

    @property
    def connection_count(self) -> int:
        """The number of clients."""
        return len(self._connections)

    @property
    def is_draining(self) -> bool:
        """Whether it accepts no more clients."""
        return self._draining is not None

    def connect(self, app: PusherApp, outlet: Outlet, *, address: str = "") -> PusherClient:
        """Return a new client. It was told its socket id, or was closed with the reason."""
        client = PusherClient(self, app, outlet, self._connections.new_socket_id(), address)
        self._connections.add(client)
        self.counts["opened"] += 1
        outlet.attach(client)
        refusal = RESTARTING_LATER if self.is_draining else self._connections.refusal(client)
        if refusal is not None:
            client.close(refusal)
        else:
            client.send(messages.connection_established(client.socket_id, app.activity_timeout_s))
        return client

    def clients_of(self, app_id: str) -> list[PusherClient]:
        """Return the app's clients."""
        return self._connections.of_app(app_id)

    def disconnect(self, client: PusherClient) -> None:
        """Forget a client; harmless when repeated."""
        if not self._connections.remove(client):
            return
        self.counts[f"closed {client.closed.number if client.closed else 'by the client'}"] += 1
        for channel in list(client.channels):
            self.unsubscribe(client, channel)
        if client.user is not None:
            self.users.remove(client)
            self.announce(client.app, self.membership.sign_out(client.app.id, client.user.id))

    # Subscriptions and users ---------------------------------------------------------------------

    def subscribe(self, client: PusherClient, channel: str, member: Member | None) -> None:
        """Subscribe a client; its right to the channel is verified already."""
        self._subscriptions.begin(client, channel, member)

    def unsubscribe(self, client: PusherClient, channel: str) -> None:
        """End a subscription; harmless if there is none."""
        self._subscriptions.end(client, channel)

    def sign_in(self, client: PusherClient, user: User) -> None:
        """Make this verified user the client's, which may be signed in as the same user already."""
        app, is_new = client.app, client.user is None
        self.users.remove(client)
        client.user = user
        changes = self.membership.sign_in(app.id, user.id) if is_new else []
        client.send(messages.signin_success(user.data))
        self.announce(app, changes)
        self.users.add(client)
        if app.has_watchlists and user.watchlist:
            online = [watched for watched in user.watchlist if self.membership.is_online(app.id, watched)]
            self._announcements.announce_watchlist(client, online)

    def terminate_user(self, app_id: str, user_id: str) -> None:
        """Close the user's signed-in connections, here and in all other processes."""
        self.receive_terminate(app_id, user_id)
        self.link.send_terminate(app_id, user_id)

    # Events --------------------------------------------------------------------------------------

    def publish(self, app: PusherApp, events: Sequence[ApiEvent]) -> None:
        """Send events of the HTTP API to their channels' subscribers on the site."""
        for event in events:
            text = messages.channel_event(event.name, event.channel, event.data)
            kept = None
            if channel_names.is_cache(event.channel):
                kept = self.last_events.keep(app.id, event.channel, text, cache_s=app.cache_s, now=self.now())
            self.receive_event(app.id, event.channel, text, event.socket_id)
            self.link.send_event(app.id, event.channel, text, event.socket_id, kept)

    def client_event(self, client: PusherClient, name: str, channel: str, data: Any) -> None:
        """Send a client's event to the channel's other subscribers on the site."""
        if self.channels.is_busy:
            return client.send(messages.error(CLIENT_EVENT_REFUSED.number, "The server is busy: the event is dropped."))
        app, member = client.app, client.channels[channel]
        user_id = None if member is None else member.user_id
        text = messages.client_event(name, channel, data, user_id)
        self.channels.send(app.id, channel, text, without=client)
        self.link.send_event(app.id, channel, text, client.socket_id)
        self.hooks.client_event(
            app, event=name, channel=channel, data=data, socket_id=client.socket_id, user_id=user_id
        )

    def cached_message(self, app: PusherApp, channel: str) -> str | None:
        """Return the message with a cache channel's last event, if one is kept."""
        event = self.last_events.find(app.id, channel, self.now())
        return None if event is None else event.text

    def cached_event(self, app: PusherApp, channel: str) -> tuple[str, float] | None:
        """Return the data of a cache channel's last event, and for how many seconds it is still kept."""
        now = self.now()
        event = self.last_events.find(app.id, channel, now)
        return None if event is None else (json.loads(event.text)["data"], event.ttl_s(now))

    # From the link to other processes ------------------------------------------------------------

    def receive_event(self, app_id: str, channel: str, text: str, socket_id: str | None) -> None:
        """Write an event to the subscribers here, except the one with this socket id."""
        self.channels.send(app_id, channel, text, without=self._connections.find(app_id, socket_id))

    def receive_changes(self, changes: Sequence[Change]) -> None:
        """The membership has changed by what another process reported, or by its silence."""
        self._apps.announce(changes)

    def receive_terminate(self, app_id: str, user_id: str) -> None:
        """Close the user's signed-in connections to this process."""
        for client in list(self.users.clients(app_id, user_id)):
            client.close(TERMINATED)

    def receive_fallback(self, process: str, text: str) -> None:
        """Handle what another process sent about sessions of the HTTP transports."""
        self.fallback.receive(process, text)

    def announce(self, app: PusherApp, changes: Sequence[Change], *, joined: PusherClient | None = None) -> None:
        """Tell clients and hooks of changes of the site's view. `joined`: the client that caused them."""
        if changes:
            self._announcements.announce(app, changes, joined=joined)
            self.hooks.on_changes(app, changes, self.now())

    # Time and the end ----------------------------------------------------------------------------

    async def _tick(self) -> None:
        check_at = self.now() + CHECK_EVERY_S
        while True:
            await asyncio.sleep(TICK_S)
            now = self.now()
            try:
                self.hooks.tick(now)
                if now >= check_at:
                    check_at = now + CHECK_EVERY_S
                    await check_clients(self._connections.all, now)
            except Exception:
                logger.exception("A check of all connections failed; the next one comes in a moment.")

    def drain(self) -> None:
        """Accept no more clients and close all, with codes that spread their return. Harmless when repeated."""
        if self._draining is None:
            self.fallback.drain()
            self._draining = asyncio.ensure_future(close_clients(self._connections.all))

    async def close(self) -> None:
        """Drain, then free everything. Webhooks that wait are sent, within some seconds. Harmless when repeated."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self.drain()
        if self._draining is not None:
            await self._draining
        self._ticking.cancel()
        self._apps.close()
        is_last = not self.membership.processes
        await self.link.close()
        await self.hooks.close(self.now(), is_last=is_last)


# The server of an event loop ----------------------------------------------------------------------

_servers: dict[asyncio.AbstractEventLoop, PusherServer] = {}


def pusher_server() -> PusherServer:
    """Return the server of the running event loop."""
    running_loop = asyncio.get_running_loop()
    if running_loop not in _servers:
        for closed_loop in [loop for loop in _servers if loop.is_closed()]:
            del _servers[closed_loop]
        _servers[running_loop] = PusherServer()
    return _servers[running_loop]


def drain_all() -> None:
    """Drain every server of this process; call it from any thread or from a signal handler."""
    for loop, server in list(_servers.items()):
        if not loop.is_closed():
            loop.call_soon_threadsafe(server.drain)


async def close_server() -> None:
    """Close the server of the running loop, if there is one; the next `pusher_server()` makes another."""
    running_loop = asyncio.get_running_loop()
    server = _servers.get(running_loop)
    if server is None:
        return
    # Until it is closed it stays the loop's server: what connects meanwhile is refused.
    await server.close()
    if _servers.get(running_loop) is server:
        del _servers[running_loop]
