"""The messages that a server sends to clients, as JSON text, and the reading of messages that clients send.

`data` is a string of JSON in most messages of the server, and an object in some: the protocol says so for each.
"""

import json
from collections.abc import Mapping
from typing import Any

from telltale.pusher.protocol.strict_json import InvalidJson, decode


class MalformedMessage(ValueError):
    """A client's message that is no event; the text says why."""


def encode(value: object) -> str:
    """Return compact JSON; text that is no valid Unicode is escaped, so that it can be sent."""
    return json.dumps(value, separators=(",", ":"))


def connection_established(socket_id: str, activity_timeout_s: int) -> str:
    """The first message on a connection."""
    data = encode({"socket_id": socket_id, "activity_timeout": activity_timeout_s})
    return encode({"event": "pusher:connection_established", "data": data})


def error(code: int | None, text: str) -> str:
    """An error that concerns the whole connection."""
    return encode({"event": "pusher:error", "data": {"code": code, "message": text}})


def pong() -> str:
    """The answer to `pusher:ping`."""
    return '{"event":"pusher:pong","data":"{}"}'


def ping() -> str:
    """Asks a client that has been silent for a sign of life."""
    return '{"event":"pusher:ping","data":"{}"}'


def subscription_succeeded(channel: str, data: str = "{}") -> str:
    """The answer to a subscription. `data`: JSON text."""
    return internal("subscription_succeeded", channel, data)


def subscription_error(channel: str, kind: str, text: str, status: int) -> str:
    """Refuses one subscription; the connection stays. pusher-js hands this to the channel's own handlers."""
    data = {"type": kind, "error": text, "status": status}
    return encode({"event": "pusher:subscription_error", "channel": channel, "data": data})


def internal(name: str, channel: str | None, data: str) -> str:
    """A message of the protocol itself, such as `member_added`. `data`: JSON text."""
    event = f"pusher_internal:{name}"
    return encode(
        {"event": event, "data": data} if channel is None else {"event": event, "channel": channel, "data": data}
    )


def presence_data(members: Mapping[str, Any]) -> str:
    """The data of a successful subscription to a presence channel. `members`: the user's info by id."""
    return encode({"presence": {"ids": list(members), "hash": dict(members), "count": len(members)}})


def channel_event(name: str, channel: str, data: str) -> str:
    """An event that was published by the HTTP API; `data` is passed on unchanged, as one string."""
    return encode({"event": name, "channel": channel, "data": data})


def client_event(name: str, channel: str, data: Any, user_id: str | None) -> str:
    """An event of another client. `user_id`: the sender's on a presence channel, from its signed data."""
    message = {"event": name, "channel": channel, "data": data}
    return encode(message if user_id is None else {**message, "user_id": user_id})


def cache_miss(channel: str) -> str:
    """A cache channel has no event to send to its new subscriber."""
    return encode({"event": "pusher:cache_miss", "channel": channel})


def signin_success(user_data: str) -> str:
    """The answer to a sign-in. `user_data`: as it was received."""
    return encode({"event": "pusher:signin_success", "data": {"user_data": user_data}})


def read_message(raw: str | bytes) -> dict[str, Any]:
    """Return a client's message, which has an `event` of type str; raises `MalformedMessage`."""
    if isinstance(raw, bytes):
        raise MalformedMessage("A binary message was sent: send text.")
    try:
        message = decode(raw)
    except InvalidJson as error_:
        raise MalformedMessage("The message is not valid JSON.") from error_
    if not isinstance(message, dict) or not isinstance(message.get("event"), str):
        raise MalformedMessage('A message is an object with an "event", which is a string.')
    return message
