"""All sessions of the HTTP transports that a server can reach: its own, and those of the site's other processes."""

from typing import Protocol

from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.fallback.owner import Owner
from telltale.pusher.server.fallback.relay import OwnerGone, Relay, RemoteReceiver
from telltale.pusher.server.fallback.relay_messages import RelayMessage, Verb
from telltale.pusher.server.fallback.session import Batch
from telltale.pusher.server.fallback.sessions import LocalReceiver, SessionHost, SessionId, Sessions
from telltale.pusher.server.link.links import Link
from telltale.pusher.server.membership.membership import Membership


class FallbackHost(SessionHost, Protocol):
    """What this needs from the server."""

    link: Link
    membership: Membership


class Source(Protocol):
    """A session, as a request sees it that receives."""

    async def take(self) -> Batch:
        """Return the next batch; wait until there is one. Raises `OwnerGone`."""

    def close(self, within_s: float | None = None) -> None:
        """The request has ended; the client leaves unless another one comes `within_s`, or some seconds if None.

        Harmless when repeated: the first call stands.
        """

    def drain(self) -> None:
        """The server shuts down: have the client connect anew."""


class Fallback:
    """Lives on one event loop."""

    def __init__(self, host: FallbackHost) -> None:
        self._process = host.membership.process
        self.sessions = Sessions(host)
        self._relay = Relay(host.link.send_fallback, host.membership)
        self._owner = Owner(self.sessions, host.link.send_fallback)

    async def source(self, session_id: SessionId, app: PusherApp, address: str) -> Source:
        """Return the session, here or elsewhere; a new one if it is unknown."""
        session = self.sessions.find(session_id)
        if session is None:
            owner = await self._relay.find(session_id)
            if owner is not None:
                return RemoteReceiver(self._relay, owner, session_id)
            session = self.sessions.find(session_id) or self.sessions.open(session_id, app, address)
        return LocalReceiver(session)

    async def send_elsewhere(self, session_id: SessionId, body: str) -> bool:
        """Pass on the body of a request that sends; False if no other process has the session, or it is not open."""
        owner = await self._relay.find(session_id)
        if owner is None:
            return False
        try:
            return await self._relay.send(owner, session_id, body)
        except OwnerGone:
            return False

    def drain(self) -> None:
        """The server is going away. It closes its own sessions itself; others' requests that wait here end."""
        self._relay.drain()

    def receive(self, process: str, text: str) -> None:
        """Handle what another process sent; raises `MalformedReport`."""
        message = RelayMessage.from_text(text)
        if message.target not in {None, self._process}:
            return  # The broker delivers everything to all.
        if message.verb is Verb.ANSWER:
            self._relay.receive(process, message)
        else:
            self._owner.receive(process, message)
