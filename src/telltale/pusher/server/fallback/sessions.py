"""The sessions of this process, and the requests here that receive for one of them."""

import asyncio
from typing import Protocol, TypeAlias

from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.clients.client import Outlet, PusherClient
from telltale.pusher.server.fallback.session import Batch, Session

SessionId: TypeAlias = tuple[str, str]
"""The app's key, and the name that the client made up."""


class SessionHost(Protocol):
    """What sessions need from the server."""

    def connect(self, app: PusherApp, outlet: Outlet, *, address: str = "") -> PusherClient:
        """Return a new client. It was told its socket id, or was closed with the reason."""


class Sessions:
    """Lives on one event loop."""

    def __init__(self, host: SessionHost) -> None:
        self._host = host
        self._sessions: dict[SessionId, Session] = {}

    def find(self, session_id: SessionId) -> Session | None:
        """Return a session, also one that was closed a moment ago."""
        return self._sessions.get(session_id)

    def open(self, session_id: SessionId, app: PusherApp, address: str) -> Session:
        """Return a new session, whose client may have been refused. `address`: the client's, for limits."""
        session = Session(lambda: self._forget(session_id, session))
        self._sessions[session_id] = session
        self._host.connect(app, session, address=address)
        return session

    def _forget(self, session_id: SessionId, session: Session) -> None:
        if self._sessions.get(session_id) is session:
            del self._sessions[session_id]


class LocalReceiver:
    """A request of this process that receives for a session of this process. Satisfies `Receiver` and `Source`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._taken: asyncio.Future[Batch] | None = None
        session.connect(self)

    async def take(self) -> Batch:
        """Return what the session has for the client; wait until there is something."""
        self._taken = asyncio.get_running_loop().create_future()
        self._session.take(self)
        return await self._taken

    def close(self, within_s: float | None = None) -> None:
        """See `Source`."""
        self._session.disconnect(self, within_s)

    def drain(self) -> None:
        """See `Source`."""
        self._session.client.drain()

    def receive(self, batch: Batch) -> None:
        """See `Receiver`."""
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(batch)
