"""Webhooks that a Pusher service sends to the site: verified, then sent on as Django signals.

A webhook is trusted if the app's secret signed its body and it is at most 300 s old. The service repeats a webhook
whose answer it did not get, so a receiver may be called twice for one event.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from django.dispatch import Signal

from telltale.pusher import signals
from telltale.pusher.protocol.signatures import is_signature
from telltale.pusher.publisher.site_apps import UnknownApp, site_app
from telltale.pusher.pusher_apps import PusherApp

MAX_BYTES: Final = 1_048_576
"""The largest body. A webhook of the stand-in server has at most 20 events."""

MAX_AGE_S: Final = 300.0

_SIGNALS: Final[Mapping[str, tuple[Signal, tuple[str, ...]]]] = {
    "channel_occupied": (signals.channel_occupied, ()),
    "channel_vacated": (signals.channel_vacated, ()),
    "member_added": (signals.member_added, ("user_id", "user_info")),
    "member_removed": (signals.member_removed, ("user_id", "user_info")),
    "client_event": (signals.client_event, ("event", "data", "socket_id", "user_id")),
    "cache_miss": (signals.cache_miss, ()),
    "subscription_count": (signals.subscription_count, ("subscription_count",)),
}
"""By an event's name: its signal, and the fields that become arguments."""

logger = logging.getLogger("telltale.pusher")


class WebhookRefused(ValueError):
    """A webhook that is not trusted or not understood; the text says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        """The HTTP status of the answer."""


def receive(key: str | None, signature: str | None, body: bytes, *, now: float) -> None:
    """Verify a webhook, and call the receivers of its signals; raises `WebhookRefused`. `now`: seconds since 1970."""
    app = _verified_app(key, signature, body)
    for event in _events(body, now=now):
        _send(app, event)


def _verified_app(key: str | None, signature: str | None, body: bytes) -> PusherApp:
    try:
        text = body.decode()
        app = site_app(key or "")
    except (UnicodeDecodeError, UnknownApp):
        text, app = "", None
    # The same answer for an unknown key and for a wrong signature.
    if app is None or not is_signature(app.secret, text, signature):
        raise WebhookRefused(401, "X-Pusher-Key and X-Pusher-Signature are not those of an app of this site.")
    return app


def _events(body: bytes, *, now: float) -> list[Any]:
    try:
        message = json.loads(body)
        sent_at, events = float(message["time_ms"]) / 1_000, message["events"]
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise WebhookRefused(400, 'A webhook is a JSON object with "time_ms" and "events".') from error
    if not abs(now - sent_at) <= MAX_AGE_S:
        raise WebhookRefused(401, f"The webhook's time_ms is more than {MAX_AGE_S:.0f} s away: check the clocks.")
    if not isinstance(events, list):
        raise WebhookRefused(400, '"events" is a list.')
    return events


def _send(app: PusherApp, event: Any) -> None:
    known = _SIGNALS.get(str(event.get("name"))) if isinstance(event, dict) else None
    if known is None or not isinstance(event.get("channel"), str):
        logger.warning("An event of a webhook was skipped, because it is of no known kind: %.200r", event)
        return
    signal, fields = known
    arguments = {field: event.get(field) for field in fields}
    signal.send_robust(sender=None, app_id=app.id, channel=event["channel"], **arguments)
