"""The apps that the stand-in server serves: their keys, secrets, limits and webhooks. A value each, without I/O."""

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class AppLimits:
    """What clients and servers of one app may do. Sizes are bytes of UTF-8."""

    connections: int | None = None
    """Connections to one server process; None: as many as the process accepts."""
    event_bytes: int = 10_240
    """Of an event's data, from the HTTP API or from a client."""
    event_name_length: int = 200
    channels_per_event: int = 100
    events_per_batch: int = 10
    channels_per_connection: int = 1_000
    presence_members: int = 100
    user_id_length: int = 128
    user_data_bytes: int = 1_024
    """Of a presence member's data."""
    client_events_per_s: int = 10
    watchlist: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTarget:
    """An address that is told of an app's events."""

    url: str
    events: frozenset[str] | None = None
    """Names such as `channel_occupied`; None: all."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers, such as a password for a proxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PusherApp:
    """One app. Clients name it by `key`, the HTTP API by `id`; `secret` signs."""

    id: str
    key: str
    secret: str = field(repr=False)
    is_enabled: bool = True
    is_tls_only: bool = False
    has_client_events: bool = True
    has_subscription_counts: bool = False
    has_watchlists: bool = True
    activity_timeout_s: int = 120
    """After this long without a message, client and server ask each other for a sign of life."""
    cache_s: float = 1_800.0
    """How long a cache channel keeps its last event."""
    limits: AppLimits = AppLimits()
    webhooks: tuple[WebhookTarget, ...] = ()
    webhook_settle_s: float = 3.0
    """A client or member that is back within this time fires no webhook: a page's reload is not news."""


WEBHOOK_EVENTS: Final = frozenset(
    {
        "channel_occupied",
        "channel_vacated",
        "member_added",
        "member_removed",
        "client_event",
        "cache_miss",
        "subscription_count",
    }
)
