"""Events for the site's own code: a value that becomes a webhook's event and a Django signal's arguments."""

from dataclasses import dataclass
from typing import Any, Final

from telltale.pusher.protocol.messages import encode

_WEBHOOK_FIELDS: Final = {
    "member_added": ("user_id",),
    "member_removed": ("user_id",),
    "client_event": ("event", "data", "socket_id", "user_id"),
    "subscription_count": ("subscription_count",),
}
_SIGNAL_FIELDS: Final = _WEBHOOK_FIELDS | {
    "member_added": ("user_id", "user_info"),
    "member_removed": ("user_id", "user_info"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HookEvent:
    """One event. `name` is one of `WEBHOOK_EVENTS`; the other fields are None where they don't apply."""

    app_id: str
    name: str
    channel: str
    user_id: str | None = None
    user_info: Any = None
    """Only for signals: webhooks don't carry it."""
    event: str | None = None
    """The name of a client event."""
    data: str | None = None
    socket_id: str | None = None
    subscription_count: int | None = None

    def signal_arguments(self) -> dict[str, Any]:
        """Return the arguments of the Django signal of this name, without the app's."""
        fields = _SIGNAL_FIELDS.get(self.name, ())
        return {"channel": self.channel} | {field: getattr(self, field) for field in fields}

    @property
    def size(self) -> int:
        """About how many bytes the event takes while it waits."""
        return 400 + len(self.channel) + len(self.data or "")

    def webhook_text(self) -> str:
        """Return the event as JSON, as webhooks carry it; fields without a value are left out."""
        values = {field: getattr(self, field) for field in _WEBHOOK_FIELDS.get(self.name, ())}
        present = {field: value for field, value in values.items() if value is not None}
        return encode({"name": self.name, "channel": self.channel, **present})


def client_event_data(data: Any) -> str:
    """Return the data of a client's event as hooks carry it: text; JSON if the client sent something else.

    Typed receivers, such as the Go library, read a string here.
    """
    return data if isinstance(data, str) else encode(data)
