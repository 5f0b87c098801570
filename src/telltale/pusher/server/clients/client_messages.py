"""Handles the messages of clients: the rules of each kind, and the answers to messages that break one.

A refused message leaves the connection open: the client is told why. Only a flood of messages closes it. Nothing
that a client sends reaches others, except client events that pass all rules.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from telltale.pusher.protocol import channel_names, messages
from telltale.pusher.protocol.close_codes import (
    CLIENT_EVENT_REFUSED,
    TOO_MANY_MESSAGES,
    UNAUTHORISED,
    WATCHLIST_TOO_LONG,
)
from telltale.pusher.protocol.signatures import is_auth_token, sign_in_text, subscription_text
from telltale.pusher.protocol.strict_json import byte_count
from telltale.pusher.protocol.user_data import InvalidUserData, Member, member_of, read_member, read_user
from telltale.pusher.server.clients.client import PusherClient
from telltale.pusher.server.clients.rate_limits import EventWindow
from telltale.pusher.server.clients.subscriptions import LIMIT_ERROR

MESSAGE_CHARACTERS: Final = 262_144
"""A longer message of a client is refused unread, unless the app allows larger events."""

AUTH_ERROR: Final = "AuthError"


class Refused(Exception):
    """A subscription that is not allowed."""

    def __init__(self, kind: str, text: str, status: int) -> None:
        super().__init__(text)
        self.kind, self.text, self.status = kind, text, status


def receive(client: PusherClient, raw: str | bytes) -> bool:
    """Handle one message; False if the client is closed now, so that nothing more need be read."""
    if not allow(client):
        return False
    if len(raw) > max(MESSAGE_CHARACTERS, 8 * client.app.limits.event_bytes):
        client.send(messages.error(CLIENT_EVENT_REFUSED.number, f"A message of {len(raw):,} characters is too long."))
        return client.is_open
    try:
        message = messages.read_message(raw)
    except messages.MalformedMessage as error:
        client.send(messages.error(None, str(error)))
        return client.is_open
    _handle(client, message)
    return client.is_open


def allow(client: PusherClient) -> bool:
    """Count one message or control frame as a sign of life; False, and the client is closed, if it is one too many."""
    if not client.is_open:
        return False
    client.hear()
    if client.bucket.spend(client.heard_at):
        return True
    client.close(TOO_MANY_MESSAGES)
    return False


def _handle(client: PusherClient, message: Mapping[str, Any]) -> None:
    event = message["event"]
    handler = _HANDLERS.get(event)
    if handler is not None:
        data = message.get("data")
        handler(client, data if isinstance(data, dict) else {})
    elif event.startswith("client-"):
        _handle_client_event(client, event, message)
    else:
        client.send(messages.error(None, f"The event {_shortened(event)} is unknown: clients send client-… events."))


def _ping(client: PusherClient, _data: Mapping[str, Any]) -> None:
    client.send(messages.pong())


def _pong(_client: PusherClient, _data: Mapping[str, Any]) -> None:
    """Every message is a sign of life; this one is nothing else."""


# Subscriptions ------------------------------------------------------------------------------------


def _subscribe(client: PusherClient, data: Mapping[str, Any]) -> None:
    channel = data.get("channel")
    if not isinstance(channel, str) or not channel:
        return client.send(messages.error(None, 'A subscription needs the name of a "channel", which is a string.'))
    if channel in client.channels:
        return client.send(messages.error(None, f"Existing subscription to channel {channel}"))
    try:
        member = _verified_member(client, channel, data)
    except Refused as refusal:
        return client.send(messages.subscription_error(channel, refusal.kind, refusal.text, refusal.status))
    client.host.subscribe(client, channel, member)


def _verified_member(client: PusherClient, channel: str, data: Mapping[str, Any]) -> Member | None:
    """Return the member that the subscription adds to a presence channel, else None. Raises `Refused`."""
    limit = client.app.limits.channels_per_connection
    if len(client.channels) >= limit:
        raise Refused(LIMIT_ERROR, f"The connection has {limit:,} channels, as many as are allowed.", 4100)
    if (user_id := channel_names.user_of(channel)) is not None:
        if client.user is None or client.user.id != user_id:
            raise Refused(AUTH_ERROR, "A user's own channel needs that user's sign-in on this connection.", 401)
        return None
    if not channel_names.is_channel_name(channel):
        raise Refused(
            "InvalidChannel", "The name of a channel has at most 200 letters, digits and characters of _-=@,.;", 400
        )
    if not channel_names.is_private(channel):
        return None
    channel_data = data.get("channel_data")
    if channel_data is not None and not isinstance(channel_data, str):
        raise Refused(AUTH_ERROR, "channel_data is a string of JSON.", 401)
    _verify_signature(client, channel, channel_data, data.get("auth"))
    return _member(client, channel_data) if channel_names.is_presence(channel) else None


def _verify_signature(client: PusherClient, channel: str, channel_data: str | None, auth: object) -> None:
    """Raise `Refused` unless `auth` signs this subscription; the expected signature is never told."""
    app = client.app
    if not is_auth_token(app.key, app.secret, subscription_text(client.socket_id, channel, channel_data), auth):
        data_part = "" if channel_data is None else ":channel_data"
        raise Refused(
            AUTH_ERROR,
            f"Invalid signature: expected KEY:SIGNATURE, where SIGNATURE is the HMAC-SHA256 of "
            f'"{client.socket_id}:{channel}{data_part}" in hexadecimal, with the secret of the app.',
            401,
        )


def _member(client: PusherClient, channel_data: str | None) -> Member:
    limits = client.app.limits
    try:
        if channel_data is not None:
            return read_member(channel_data, limits)
        if client.user is not None:
            return member_of(client.user, limits)
    except InvalidUserData as error:
        raise Refused(LIMIT_ERROR, str(error), 4301) from error
    raise Refused(AUTH_ERROR, "A presence channel needs channel_data, or a connection that is signed in.", 401)


def _unsubscribe(client: PusherClient, data: Mapping[str, Any]) -> None:
    channel = data.get("channel")
    if isinstance(channel, str):
        client.host.unsubscribe(client, channel)


# Users --------------------------------------------------------------------------------------------


def _sign_in(client: PusherClient, data: Mapping[str, Any]) -> None:
    app, user_data = client.app, data.get("user_data")
    if not isinstance(user_data, str):
        return _refuse_sign_in(client, "A sign-in needs user_data, which is a string of JSON.")
    if not is_auth_token(app.key, app.secret, sign_in_text(client.socket_id, user_data), data.get("auth")):
        return _refuse_sign_in(
            client,
            f"Invalid signature: expected KEY:SIGNATURE, where SIGNATURE is the HMAC-SHA256 of "
            f'"{client.socket_id}::user::user_data" in hexadecimal, with the secret of the app.',
        )
    try:
        user = read_user(user_data, app.limits)
    except InvalidUserData as error:
        return _refuse_sign_in(client, str(error))
    if client.user is not None and client.user.id != user.id:
        return _refuse_sign_in(client, "The connection is signed in as another user: open a new connection.")
    client.host.sign_in(client, user)
    if user.is_watchlist_cut and app.has_watchlists:
        text = f"The watchlist is too long: only its first {app.limits.watchlist} entries are watched."
        client.send(messages.error(WATCHLIST_TOO_LONG.number, text))


def _refuse_sign_in(client: PusherClient, text: str) -> None:
    client.send(messages.error(UNAUTHORISED.number, text))


# Client events ------------------------------------------------------------------------------------


def _handle_client_event(client: PusherClient, event: str, message: Mapping[str, Any]) -> None:
    channel, data = message.get("channel"), message.get("data")
    reason = _refusal_of_event(client, event, channel, data)
    if reason is not None:
        return client.send(messages.error(CLIENT_EVENT_REFUSED.number, reason))
    client.host.client_event(client, event, str(channel), data)


def _refusal_of_event(client: PusherClient, event: str, channel: object, data: Any) -> str | None:
    """Return why the event must not be sent, or None if it may be. An event that may be sent is counted."""
    app = client.app
    if not app.has_client_events:
        return "Client events are off for this app: switch them on in the server's list of apps."
    if not isinstance(channel, str) or channel not in client.channels:
        return "A client event needs a channel that this connection is subscribed to."
    if not channel_names.is_private(channel) or channel_names.is_encrypted(channel):
        return "Client events are sent on private and presence channels only, and not on encrypted ones."
    if len(event) > app.limits.event_name_length:
        return f"The name of the event has more than {app.limits.event_name_length} characters."
    size = _size_of(data)
    if size > app.limits.event_bytes:
        return f"The data of the event has {size:,} bytes; {app.limits.event_bytes:,} are allowed."
    if client.event_window is None:
        client.event_window = EventWindow(app.limits.client_events_per_s)
    if not client.event_window.allows(client.heard_at):
        return f"More than {app.limits.client_events_per_s} client events in a second: this one was dropped."
    return None


def _size_of(data: Any) -> int:
    """Return the bytes of an event's data: of the text itself, or of the compact JSON of anything else."""
    return len(data.encode("utf-8", "surrogatepass")) if isinstance(data, str) else byte_count(data)


def _shortened(event: str) -> str:
    return repr(event if len(event) <= 50 else f"{event[:50]}…")


_HANDLERS: Final[Mapping[str, Callable[[PusherClient, Mapping[str, Any]], None]]] = {
    "pusher:ping": _ping,
    "pusher:pong": _pong,
    "pusher:subscribe": _subscribe,
    "pusher:unsubscribe": _unsubscribe,
    "pusher:signin": _sign_in,
}
