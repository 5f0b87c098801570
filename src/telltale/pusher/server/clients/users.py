"""The signed-in users of this process: their connections, and the connections that watch for them."""

from collections.abc import Collection, Iterable

from telltale.pusher.server.clients.client import PusherClient

UserId = tuple[str, str]
"""The app's id and the user's id."""


class LocalUsers:
    """Clients by signed-in user, and by user on their watchlist."""

    def __init__(self) -> None:
        self._clients: dict[UserId, dict[PusherClient, None]] = {}
        self._watchers: dict[UserId, dict[PusherClient, None]] = {}

    def add(self, client: PusherClient) -> None:
        """Add a client that has just signed in."""
        assert client.user is not None  # noqa: S101 (callers have set it)
        app_id = client.app.id
        self._clients.setdefault((app_id, client.user.id), {})[client] = None
        if client.app.has_watchlists:
            for watched in client.user.watchlist:
                self._watchers.setdefault((app_id, watched), {})[client] = None

    def remove(self, client: PusherClient) -> None:
        """Remove a client; harmless when repeated."""
        if client.user is None:
            return
        app_id = client.app.id
        _discard(self._clients, (app_id, client.user.id), client)
        for watched in client.user.watchlist:
            _discard(self._watchers, (app_id, watched), client)

    def clients(self, app_id: str, user_id: str) -> Collection[PusherClient]:
        """Return the user's connections to this process."""
        return self._clients.get((app_id, user_id), {}).keys()

    def watchers(self, app_id: str, user_ids: Iterable[str]) -> dict[PusherClient, list[str]]:
        """Return the clients that watch any of these users, each with the watched ones among them."""
        found: dict[PusherClient, list[str]] = {}
        for user_id in user_ids:
            for client in self._watchers.get((app_id, user_id), ()):
                found.setdefault(client, []).append(user_id)
        return found


def _discard(index: dict[UserId, dict[PusherClient, None]], user_id: UserId, client: PusherClient) -> None:
    clients = index.get(user_id)
    if clients is not None and clients.pop(client, 0) is None and not clients:
        del index[user_id]
