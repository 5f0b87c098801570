"""The bodies of requests that publish, read and validated as a whole: one wrong event refuses all.

POST …/events        {"name", "data", "channels": […] or "channel", "socket_id"?, "info"?}
POST …/batch_events  {"batch": [{"name", "data", "channel", "socket_id"?, "info"?}, …]}
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from telltale.pusher.protocol import api_attributes
from telltale.pusher.protocol.api_refusal import ApiRefusal, shown
from telltale.pusher.protocol.channel_names import MAX_LENGTH, USER_PREFIX, is_channel_name, user_of
from telltale.pusher.pusher_apps import AppLimits

RESERVED: Final = ("pusher:", "pusher_internal:")
"""Events of the protocol itself begin so."""

ESCAPED: Final = 6
"""Bytes of JSON for one byte of text, at most: \\u0001."""

_SOCKET_ID: Final = re.compile(r"[0-9]+\.[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiEvent:
    """An event for one channel. `data` reaches clients unchanged."""

    name: str
    channel: str
    data: str
    socket_id: str | None = None
    """The connection that does not get the event; it need not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The events of one request, in their order."""

    events: tuple[ApiEvent, ...]
    info: tuple[tuple[str, ...], ...]
    """For each event, the attributes of its channel that the answer has."""


def max_body_bytes(limits: AppLimits) -> int:
    """Return the size of the largest body that can hold valid events of this app."""
    event = ESCAPED * (limits.event_bytes + limits.event_name_length) + limits.channels_per_event * (MAX_LENGTH + 16)
    return limits.events_per_batch * event + 4_096


def read_events(body: bytes, limits: AppLimits) -> Publication:
    """Return the events of a request to …/events; raises `ApiRefusal`."""
    request = _read_object(body)
    channels = _read_channels(request, limits)
    name, data, socket_id = _read_event(request, limits)
    info = _read_info(request)
    events = tuple(ApiEvent(name=name, channel=channel, data=data, socket_id=socket_id) for channel in channels)
    return Publication(events=events, info=(info,) * len(events))


def read_batch(body: bytes, limits: AppLimits) -> Publication:
    """Return the events of a request to …/batch_events; raises `ApiRefusal`."""
    batch = _read_object(body).get("batch")
    if not isinstance(batch, list):
        raise ApiRefusal(400, f'"batch" is {shown(batch)}: it must be a list of events.')
    if len(batch) > limits.events_per_batch:
        raise ApiRefusal(400, f"The batch has {len(batch)} events: send at most {limits.events_per_batch} at a time.")
    events, info = [], []
    for number, fields in enumerate(batch):
        try:
            if not isinstance(fields, dict):
                raise ApiRefusal(400, f"It is {shown(fields)}: it must be an object.")
            channel = _read_channel(fields.get("channel"), limits)
            name, data, socket_id = _read_event(fields, limits)
            info.append(_read_info(fields))
            events.append(ApiEvent(name=name, channel=channel, data=data, socket_id=socket_id))
        except ApiRefusal as refusal:
            raise ApiRefusal(refusal.status, f"Event {number} of the batch: {refusal.text}") from None
    return Publication(events=tuple(events), info=tuple(info))


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body.decode())
    except UnicodeDecodeError as error:
        raise ApiRefusal(400, "The body is not UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise ApiRefusal(400, "The body is not valid JSON.") from error
    if not isinstance(value, dict):
        raise ApiRefusal(400, f"The body is {shown(value)}: it must be a JSON object.")
    return value


def _read_event(fields: Mapping[str, Any], limits: AppLimits) -> tuple[str, str, str | None]:
    """Return name, data and the excluded connection."""
    return (
        _read_name(fields.get("name"), limits),
        _read_data(fields.get("data"), limits),
        _read_socket_id(fields.get("socket_id")),
    )


def _read_name(name: object, limits: AppLimits) -> str:
    if not isinstance(name, str) or not name:
        raise ApiRefusal(400, f'"name" is {shown(name)}: it must be the name of the event.')
    if len(name) > limits.event_name_length:
        raise ApiRefusal(400, f'"name" has {len(name)} characters: at most {limits.event_name_length} are allowed.')
    if name.startswith(RESERVED):
        raise ApiRefusal(400, f'"name" is {shown(name)}: names that begin with "pusher:" are the protocol\'s own.')
    return name


def _read_data(data: object, limits: AppLimits) -> str:
    if not isinstance(data, str):
        raise ApiRefusal(400, f'"data" is {shown(data)}: it must be a string; encode other values as JSON first.')
    size = len(data.encode("utf-8", "surrogatepass"))
    if size > limits.event_bytes:
        raise ApiRefusal(
            413,
            f'"data" has {size:,} bytes: this app allows {limits.event_bytes:,}. Send less, such as an address from '
            "which clients read the rest, or raise the app's limit EVENT_BYTES.",
        )
    return data


def _read_socket_id(socket_id: object) -> str | None:
    if socket_id is None:
        return None
    if not isinstance(socket_id, str) or _SOCKET_ID.fullmatch(socket_id) is None:
        raise ApiRefusal(400, f'"socket_id" is {shown(socket_id)}: it must be a connection\'s, such as "123.456".')
    return socket_id


def _read_channels(request: Mapping[str, Any], limits: AppLimits) -> list[str]:
    """Return the channels, each once."""
    single, several = request.get("channel"), request.get("channels")
    if single is not None and several is not None:
        raise ApiRefusal(400, 'The event has both "channel" and "channels": send one of them.')
    if single is not None:
        return [_read_channel(single, limits)]
    if not isinstance(several, list) or not several:
        raise ApiRefusal(400, f'"channels" is {shown(several)}: it must be a list of at least one channel.')
    if len(several) > limits.channels_per_event:
        raise ApiRefusal(
            400, f'"channels" has {len(several)} channels: at most {limits.channels_per_event} are allowed.'
        )
    return list(dict.fromkeys(_read_channel(channel, limits) for channel in several))


def _read_channel(channel: object, limits: AppLimits) -> str:
    """Return the name of a channel, which may be a signed-in user's own."""
    if is_channel_name(channel) or _is_user_channel(channel, limits):
        return str(channel)
    raise ApiRefusal(
        400,
        f"The channel {shown(channel)} is not valid: a name has 1 to {MAX_LENGTH} letters, digits or _ - = @ , . ; "
        f"and a user's own channel is {USER_PREFIX}ID.",
    )


def _is_user_channel(channel: object, limits: AppLimits) -> bool:
    user_id = user_of(channel) if isinstance(channel, str) else None
    return user_id is not None and len(user_id) <= limits.user_id_length


def _read_info(fields: Mapping[str, Any]) -> tuple[str, ...]:
    info = fields.get("info")
    if info is not None and not isinstance(info, str):
        raise ApiRefusal(400, f'"info" is {shown(info)}: it must be a string, such as "user_count".')
    return api_attributes.read(info, api_attributes.OF_EVENTS)
