"""Changes of the whole site's view: what became different when clients of any process came, left or went silent.

`membership.py` returns them as one process sees them. The server turns them into messages to this process's
subscribers, and the hooks turn them into webhooks and Django signals.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOccupied:
    """The channel has its first subscriber on the site."""

    app_id: str
    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelVacated:
    """The channel's last subscriber on the site has left."""

    app_id: str
    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberAdded:
    """A user's first connection on the site subscribed to a presence channel."""

    app_id: str
    channel: str
    user_id: str
    user_info: Any = None
    """From the user's signed data; None if it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRemoved:
    """A user's last connection on the site left a presence channel."""

    app_id: str
    channel: str
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CountChanged:
    """The channel has another number of subscribers on the site; never for presence channels."""

    app_id: str
    channel: str
    subscription_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserOnline:
    """A signed-in user's first connection on the site."""

    app_id: str
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserOffline:
    """A signed-in user's last connection on the site has ended."""

    app_id: str
    user_id: str


Change: TypeAlias = (
    ChannelOccupied | ChannelVacated | MemberAdded | MemberRemoved | CountChanged | UserOnline | UserOffline
)
