"""The addresses of the HTTP API, and the answer to each. Every function here returns at once.

    POST /apps/ID/events                  POST /apps/ID/users/USER/terminate_connections
    POST /apps/ID/batch_events            POST /users/USER/terminate_connections
    GET  /apps/ID/channels                GET  /apps/ID/channels/CHANNEL/users
    GET  /apps/ID/channels/CHANNEL

An official library calls the second address of `terminate_connections`, by mistake; the app then follows from the key.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from telltale.pusher.protocol import api_attributes, channel_names
from telltale.pusher.protocol.api_events import ApiEvent, Publication, max_body_bytes, read_batch, read_events
from telltale.pusher.protocol.api_query import Parameters
from telltale.pusher.protocol.api_refusal import ApiRefusal, shown
from telltale.pusher.pusher_apps import AppLimits, PusherApp

SMALL_BODY: Final = 4_096
"""Bytes of a request's body that has no content, such as {}."""


class SiteChannels(Protocol):
    """What the API asks about the site's channels; `membership.py` has it."""

    def is_occupied(self, app_id: str, channel: str) -> bool: ...
    def subscription_count(self, app_id: str, channel: str) -> int: ...
    def user_count(self, app_id: str, channel: str) -> int: ...
    def members(self, app_id: str, channel: str) -> Mapping[str, Any]: ...
    def channels(self, app_id: str, prefix: str = "") -> Sequence[str]: ...


class ApiHost(Protocol):
    """The server, as far as the API needs it."""

    @property
    def membership(self) -> SiteChannels:
        """The site's channels, as this process knows them, without users' own channels."""
        ...

    def publish(self, app: PusherApp, events: Sequence[ApiEvent]) -> None:
        """Send events to their channels' subscribers, on the whole site."""
        ...

    def terminate_user(self, app_id: str, user_id: str) -> None:
        """Close a user's signed-in connections, on the whole site."""
        ...

    def cached_event(self, app: PusherApp, channel: str) -> tuple[str, float] | None:
        """Return the data of a cache channel's last event, and for how many seconds it is still kept."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """An authenticated request."""

    app: PusherApp
    parameters: Parameters
    body: bytes
    channel: str = ""
    user_id: str = ""
    admit: Callable[[], None]
    """Is called right before the request takes effect; raises `ApiRefusal` for a replayed one."""


Answer = Callable[[ApiRequest, ApiHost], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An address of the API. `path`: its groups are `app`, `channel` and `user`."""

    method: str
    path: re.Pattern[str]
    answer: Answer
    """Returns the content of the answer; raises `ApiRefusal`."""
    max_bytes: Callable[[AppLimits], int] = lambda _limits: SMALL_BODY
    """Of the request's body."""


def find_route(method: str, path: str) -> tuple[Route, Mapping[str, str]]:
    """Return the route and the parts of the path; raises `ApiRefusal` if there is none."""
    allowed = []
    for route in ROUTES:
        if (match := route.path.fullmatch(path)) is None:
            continue
        if route.method == method:
            return route, match.groupdict()
        allowed.append(route.method)
    if allowed:
        methods = ", ".join(allowed)
        raise ApiRefusal(405, f"{method} is not possible here: use {methods}.", allowed_methods=methods)
    raise ApiRefusal(404, f"There is nothing at {shown(path)}: the HTTP API is below /apps/ID/.")


# Events ------------------------------------------------------------------------------------------


def _events(request: ApiRequest, host: ApiHost) -> Any:
    publication = read_events(request.body, request.app.limits)
    infos = _publish(request, publication, host)
    if not publication.info[0]:
        return {}
    return {"channels": {event.channel: info for event, info in zip(publication.events, infos, strict=True)}}


def _batch_events(request: ApiRequest, host: ApiHost) -> Any:
    publication = read_batch(request.body, request.app.limits)
    infos = _publish(request, publication, host)
    return {"batch": infos} if any(publication.info) else {}


def _publish(request: ApiRequest, publication: Publication, host: ApiHost) -> list[dict[str, Any]]:
    """Publish all events; return the attributes of their channels that were asked for."""
    request.admit()
    host.publish(request.app, publication.events)
    return [
        _attributes(request.app, event.channel, attributes, host)
        for event, attributes in zip(publication.events, publication.info, strict=True)
    ]


# Channels ----------------------------------------------------------------------------------------


def _channels(request: ApiRequest, host: ApiHost) -> Any:
    prefix = request.parameters.get("filter_by_prefix", "")
    attributes = api_attributes.read(request.parameters.get("info"), api_attributes.OF_CHANNELS)
    api_attributes.require_prefix(attributes, prefix)
    names = host.membership.channels(request.app.id, prefix)
    return {"channels": {name: _attributes(request.app, name, attributes, host) for name in names}}


def _channel(request: ApiRequest, host: ApiHost) -> Any:
    channel = _known_name(request.channel)
    attributes = api_attributes.read(request.parameters.get("info"), api_attributes.OF_ONE_CHANNEL)
    api_attributes.require(attributes, channel)
    is_occupied = host.membership.is_occupied(request.app.id, channel)
    return {"occupied": is_occupied, **_attributes(request.app, channel, attributes, host)}


def _users(request: ApiRequest, host: ApiHost) -> Any:
    channel = _known_name(request.channel)
    if not channel_names.is_presence(channel):
        raise ApiRefusal(400, f"The channel {shown(channel)} has no users: only presence channels know them.")
    return {"users": [{"id": user_id} for user_id in host.membership.members(request.app.id, channel)]}


def _known_name(channel: str) -> str:
    if channel_names.is_channel_name(channel) or channel_names.user_of(channel) is not None:
        return channel
    raise ApiRefusal(400, f"{shown(channel)} is no valid name of a channel.")


def _attributes(app: PusherApp, channel: str, attributes: Sequence[str], host: ApiHost) -> dict[str, Any]:
    """Return the attributes that apply to this channel."""
    return {
        attribute: _READERS[attribute](app, channel, host)
        for attribute in attributes
        if api_attributes.applies(attribute, channel)
    }


def _cached(app: PusherApp, channel: str, host: ApiHost) -> dict[str, Any] | None:
    cached = host.cached_event(app, channel)
    return None if cached is None else {"data": cached[0], "ttl": max(0, round(cached[1]))}


_READERS: Final[Mapping[str, Callable[[PusherApp, str, ApiHost], Any]]] = {
    api_attributes.USER_COUNT: lambda app, channel, host: host.membership.user_count(app.id, channel),
    api_attributes.SUBSCRIPTION_COUNT: lambda app, channel, host: host.membership.subscription_count(app.id, channel),
    api_attributes.CACHE: _cached,
}


# Users -------------------------------------------------------------------------------------------


def _terminate_connections(request: ApiRequest, host: ApiHost) -> Any:
    request.admit()
    host.terminate_user(request.app.id, request.user_id)
    return {}


def _path(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)


_APP: Final = "/apps/(?P<app>[^/]+)"
_USER: Final = "/users/(?P<user>.+)/terminate_connections"

ROUTES: Final = (
    Route(method="POST", path=_path(f"{_APP}/events"), answer=_events, max_bytes=max_body_bytes),
    Route(method="POST", path=_path(f"{_APP}/batch_events"), answer=_batch_events, max_bytes=max_body_bytes),
    Route(method="GET", path=_path(f"{_APP}/channels"), answer=_channels),
    Route(method="GET", path=_path(f"{_APP}/channels/(?P<channel>[^/]+)"), answer=_channel),
    Route(method="GET", path=_path(f"{_APP}/channels/(?P<channel>[^/]+)/users"), answer=_users),
    Route(method="POST", path=_path(f"{_APP}{_USER}"), answer=_terminate_connections),
    Route(method="POST", path=_path(_USER), answer=_terminate_connections),
)
