"""The stand-in server of one event loop: its clients, and what happens when they come, subscribe and go.

`client_messages.py` has verified what clients ask for, `http_api.py` what servers send.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from telltale import conf
from telltale.core.hub import SLICE
from telltale.pusher.protocol import messages
from telltale.pusher.protocol.api_events import ApiEvent
from telltale.pusher.protocol.close_codes import (
    APP_DISABLED,
    OVER_CAPACITY,
    OVER_QUOTA,
    RECONNECT,
    RESTARTING_LATER,
    UNAUTHORISED,
)
from telltale.pusher.protocol.user_data import Member, User
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.channels import LocalChannels
from telltale.pusher.server.client import Outlet, PusherClient
from telltale.pusher.server.users import LocalUsers

SWEEP_S: Final = 1.0
"""How often connections are checked for what becomes due by time alone."""

DRAIN_EVERY_S: Final = 0.05
"""Between two slices of connections that are closed while draining."""

DRAIN_S: Final = 5.0
"""The longest time over which a drain spreads its closing frames."""

RETURN_PER_S: Final = 1_000
"""Clients a second that a drain closes, if there is time enough."""


class PusherServer:
    """Satisfies `ClientHost`. Every method is called on its event loop and returns at once."""

    def __init__(self) -> None:
        self.channels = LocalChannels()
        self.users = LocalUsers()
        self.counts: Counter[str] = Counter()
        """Totals: opened, closed by code."""
        self._clients: dict[str, PusherClient] = {}
        self._clients_by_app: Counter[str] = Counter()
        self._clients_by_address: Counter[str] = Counter()
        self._sweep_task: asyncio.Task[None] | None = None
        self._drain_task: asyncio.Task[None] | None = None

    @property
    def connection_count(self) -> int:
        """The number of clients."""
        return len(self._clients)

    @property
    def is_draining(self) -> bool:
        """Whether it accepts no more clients."""
        return self._drain_task is not None

    def now(self) -> float:
        """Return the time, in seconds of a clock that never goes back."""
        return time.monotonic()

    # Clients -------------------------------------------------------------------------------------

    def connect(self, app: PusherApp, outlet: Outlet, *, address: str = "") -> PusherClient:
        """Return a new client, which was told its socket id, or was closed with the reason."""
        client = PusherClient(self, app, outlet, self._new_socket_id(), address)
        self._clients[client.socket_id] = client
        self._clients_by_app[app.id] += 1
        self._clients_by_address[address] += 1
        self.counts["opened"] += 1
        if self._sweep_task is None or self._sweep_task.done():
            self._sweep_task = asyncio.ensure_future(self._sweep())
        outlet.attach(client)
        self._welcome(client)
        return client

    def _welcome(self, client: PusherClient) -> None:
        """Tell a new client its socket id, or close it because there is no room."""
        app, settings = client.app, conf.settings()
        is_address_full = self._clients_by_address[client.address] > settings.connections_per_address
        limit = app.limits.connections
        if self.is_draining:
            client.close(RESTARTING_LATER)
        elif not app.is_enabled:
            client.close(APP_DISABLED)
        elif limit is not None and self._clients_by_app[app.id] > limit:
            client.close(OVER_QUOTA)
        elif len(self._clients) > settings.connections or (client.address and is_address_full):
            client.close(OVER_CAPACITY)
        else:
            client.send(messages.connection_established(client.socket_id, app.activity_timeout_s))

    def find_client(self, app_id: str, socket_id: str | None) -> PusherClient | None:
        """Return this process's client with this socket id, if the app is its own."""
        client = self._clients.get(socket_id) if socket_id else None
        return client if client is not None and client.app.id == app_id else None

    def disconnect(self, client: PusherClient) -> None:
        """Forget a client; harmless when repeated."""
        if self._clients.pop(client.socket_id, None) is None:
            return
        self.counts[f"closed {client.closed.number if client.closed else 'by the client'}"] += 1
        _decrement(self._clients_by_app, client.app.id)
        _decrement(self._clients_by_address, client.address)
        for channel in list(client.channels):
            self.unsubscribe(client, channel)
        self.users.remove(client)

    def _new_socket_id(self) -> str:
        while True:
            socket_id = f"{secrets.randbelow(10**9)}.{secrets.randbelow(10**9)}"
            if socket_id not in self._clients:
                return socket_id

    # Subscriptions -------------------------------------------------------------------------------

    def can_join(self, app: PusherApp, channel: str, user_id: str) -> bool:
        """Whether a presence channel has room for this user."""
        return True

    def subscribe(self, client: PusherClient, channel: str, member: Member | None) -> None:
        """Subscribe a client whose right to the channel is verified."""
        client.channels[channel] = member
        self.channels.add(client, channel)
        client.send(messages.subscription_succeeded(channel))

    def unsubscribe(self, client: PusherClient, channel: str) -> None:
        """End a subscription; harmless if there is none."""
        if channel not in client.channels:
            return
        del client.channels[channel]
        self.channels.remove(client, channel)

    # Events --------------------------------------------------------------------------------------

    def publish(self, app: PusherApp, events: Sequence[ApiEvent]) -> None:
        """Send events of the HTTP API to their channels' subscribers."""
        for event in events:
            text = messages.channel_event(event.name, event.channel, event.data)
            self.channels.send(app.id, event.channel, text, without=self.find_client(app.id, event.socket_id))

    def client_event(self, client: PusherClient, name: str, channel: str, data: Any) -> None:
        """Send a client's event to the channel's other subscribers."""
        member = client.channels.get(channel)
        text = messages.client_event(name, channel, data, member.user_id if member else None)
        self.channels.send(client.app.id, channel, text, without=client)

    # Users ---------------------------------------------------------------------------------------

    def sign_in(self, client: PusherClient, user: User) -> None:
        """Make this verified user the client's."""
        self.users.remove(client)
        client.user = user
        self.users.add(client)
        client.send(messages.signin_success(user.data))

    def terminate_user(self, app_id: str, user_id: str) -> None:
        """Close the user's signed-in connections, here and in all other processes."""
        for client in list(self.users.clients(app_id, user_id)):
            client.close(UNAUTHORISED)

    # Time and the end ----------------------------------------------------------------------------

    async def _sweep(self) -> None:
        """Send pings and close what is overdue, while there are clients."""
        while self._clients:
            await asyncio.sleep(SWEEP_S)
            clients = iter(list(self._clients.values()))
            while batch := list(islice(clients, SLICE)):
                now = self.now()
                for client in batch:
                    if client.due_at <= now and client.is_open:
                        client.check(now)
                await asyncio.sleep(0)

    def drain(self) -> None:
        """Accept no more clients and close all, with codes that spread their return. Harmless when repeated."""
        if self._drain_task is None:
            self._drain_task = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        clients = list(self._clients.values())
        size = max(int(RETURN_PER_S * DRAIN_EVERY_S), int(len(clients) * DRAIN_EVERY_S / DRAIN_S) + 1)
        for start in range(0, len(clients), size):
            for k, client in enumerate(clients[start : start + size]):
                client.close(RECONNECT if k % 2 else RESTARTING_LATER)
            await asyncio.sleep(DRAIN_EVERY_S)

    async def close(self) -> None:
        """Drain, then free everything."""
        self.drain()
        if self._drain_task is not None:
            await self._drain_task
        if self._sweep_task is not None:
            self._sweep_task.cancel()


def _decrement(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


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
    server = _servers.pop(asyncio.get_running_loop(), None)
    if server is not None:
        await server.close()
