"""What the server needs from its link to the site's other processes; `site_link.py` has the one over a broker."""

from collections.abc import Callable, Sequence
from typing import Protocol

from telltale.pusher.server.link.last_events import LastEvent
from telltale.pusher.server.membership.changes import Change


class Link(Protocol):
    """Carries events and commands to other processes. Every method is called on the event loop and returns at once."""

    def follow(self, app_id: str, channel: str, then: Callable[[], None]) -> None:
        """Receive the channel's events of other processes, and call `then` on the loop once that works.

        `then` is called at once if the channel is followed already, and after a bounded wait if the broker is
        unavailable. Each call is matched by one of `unfollow`, whether `then` was called or not.
        """

    def unfollow(self, app_id: str, channel: str) -> None:
        """One subscriber less; after the last, the channel's events need not be received."""

    def send_event(
        self, app_id: str, channel: str, text: str, socket_id: str | None, kept: LastEvent | None = None
    ) -> None:
        """Have other processes write `text` to the channel's subscribers except the one with this socket id.

        `kept`: the event of a cache channel, which all processes keep.
        """

    def send_terminate(self, app_id: str, user_id: str) -> None:
        """Have other processes close the user's signed-in connections."""

    def send_fallback(self, process: str | None, text: str) -> None:
        """Have another process, or all others, handle a text about sessions of the HTTP transports."""

    async def close(self) -> None:
        """Tell the other processes that this one leaves, and free threads and sockets. All clients have gone."""


class LinkHost(Protocol):
    """What the link calls on the server, on its event loop."""

    def receive_event(self, app_id: str, channel: str, text: str, socket_id: str | None) -> None:
        """Write an event of another process to the subscribers here."""

    def receive_changes(self, changes: Sequence[Change]) -> None:
        """The membership has changed by what another process reported, or by its silence."""

    def receive_terminate(self, app_id: str, user_id: str) -> None:
        """Close the user's signed-in connections to this process."""

    def receive_fallback(self, process: str, text: str) -> None:
        """Handle what another process sent by `send_fallback`; it may be meant for a third one."""


class NoLink:
    """The link of a process that is alone."""

    def follow(self, _app_id: str, _channel: str, then: Callable[[], None]) -> None:
        """There is nothing to follow."""
        then()

    def unfollow(self, _app_id: str, _channel: str) -> None:
        """There is nothing to unfollow."""

    def send_event(
        self, _app_id: str, _channel: str, _text: str, _socket_id: str | None, _kept: LastEvent | None = None
    ) -> None:
        """There are no other processes."""

    def send_terminate(self, _app_id: str, _user_id: str) -> None:
        """There are no other processes."""

    def send_fallback(self, _process: str | None, _text: str) -> None:
        """There are no other processes."""

    async def close(self) -> None:
        """There is nothing to free."""
