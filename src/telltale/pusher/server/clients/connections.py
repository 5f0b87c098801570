"""The connections of this process, by socket id, and the limits on their number."""

import secrets
from collections import Counter
from collections.abc import Collection

from telltale import conf
from telltale.pusher.protocol.close_codes import APP_DISABLED, OVER_CAPACITY, OVER_QUOTA, Code
from telltale.pusher.server.clients.client import PusherClient


class Connections:
    """All connections that are open."""

    def __init__(self) -> None:
        self._clients: dict[str, PusherClient] = {}
        self._count_by_app: Counter[str] = Counter()
        self._count_by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def all(self) -> Collection[PusherClient]:
        """All clients; it changes while they come and go."""
        return self._clients.values()

    def new_socket_id(self) -> str:
        """Return an id that no connection of this process has, and hardly one of another process."""
        while True:
            socket_id = f"{secrets.randbelow(10**9)}.{secrets.randbelow(10**9)}"
            if socket_id not in self._clients:
                return socket_id

    def add(self, client: PusherClient) -> None:
        """Add a new client."""
        self._clients[client.socket_id] = client
        self._count_by_app[client.app.id] += 1
        self._count_by_address[client.address] += 1

    def remove(self, client: PusherClient) -> bool:
        """Remove a client; False if that was done before."""
        if self._clients.pop(client.socket_id, None) is None:
            return False
        _decrement(self._count_by_app, client.app.id)
        _decrement(self._count_by_address, client.address)
        return True

    def refusal(self, client: PusherClient) -> Code | None:
        """Return why a client that was just added can't stay; None if it can."""
        app, settings = client.app, conf.settings()
        if not app.is_enabled:
            return APP_DISABLED
        limit = app.limits.connections
        if limit is not None and self._count_by_app[app.id] > limit:
            return OVER_QUOTA
        is_address_full = self._count_by_address[client.address] > settings.connections_per_address
        if len(self._clients) > settings.connections or (client.address and is_address_full):
            return OVER_CAPACITY
        return None

    def find(self, app_id: str, socket_id: str | None) -> PusherClient | None:
        """Return the client with this socket id, if it is one of the app."""
        client = self._clients.get(socket_id) if socket_id else None
        return client if client is not None and client.app.id == app_id else None

    def of_app(self, app_id: str) -> list[PusherClient]:
        """Return the app's clients."""
        return [client for client in self._clients.values() if client.app.id == app_id]


def _decrement(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
