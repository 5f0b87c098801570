"""The data of a signed-in user: for the members of a presence channel, and for a sign-in.

The id is that of the topic `user:…`, with characters that ids may have; plain keys stay as they are.
`TELLTALE["PUSHER_USER_INFO"]` and `TELLTALE["PUSHER_WATCHLIST"]` are the site's hooks.
"""

import json
from collections.abc import Mapping
from functools import cache
from itertools import islice
from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from telltale import conf
from telltale.core.snapshot import SHORT_BYTES, bounded
from telltale.core.topics import user_topic
from telltale.core.wire import encode
from telltale.pusher.protocol.user_data import InvalidUserData, read_member
from telltale.pusher.publisher.channels import escape_name
from telltale.pusher.pusher_apps import PusherApp


def user_id_of(pk: object) -> str:
    """Return the id by which a Pusher service knows the user with this primary key."""
    return escape_name(user_topic(pk).partition(":")[2])


def member_data(request: HttpRequest, app: PusherApp, user: Any) -> str:
    """Return the JSON text that makes the user a member; raises `ValueError` if the site's hook gives too much."""
    text = encode({"user_id": user_id_of(user.pk), "user_info": _user_info(request, user)})
    try:
        read_member(text, app.limits)
    except InvalidUserData as error:
        raise ValueError(
            f"The data of the user {user.pk!r} can't be shown to members: {error} "
            "Shorten what TELLTALE['PUSHER_USER_INFO'] returns, or the user's primary key."
        ) from error
    return text


def user_data(request: HttpRequest, app: PusherApp, user: Any) -> str:
    """Return the JSON text that signs the user in; raises as `member_data`."""
    member = json.loads(member_data(request, app, user))
    data = {"id": member["user_id"], "user_info": member["user_info"]}
    watchlist = _watchlist(request, app.limits.watchlist)
    return encode(data | ({"watchlist": watchlist} if watchlist else {}))


def _user_info(request: HttpRequest, user: Any) -> Mapping[str, Any]:
    path = conf.settings().pusher_user_info
    if path is None:
        return {"name": bounded(str(user), SHORT_BYTES)}
    info = _hook(path)(request)
    if not isinstance(info, Mapping):
        raise TypeError(f"TELLTALE['PUSHER_USER_INFO'] returned {info!r:.80}: it must return a dict of plain JSON.")
    return info


def _watchlist(request: HttpRequest, limit: int) -> list[str]:
    """The ids of the users to watch; the hook returns users or primary keys."""
    path = conf.settings().pusher_watchlist
    watched = islice(_hook(path)(request), limit) if path is not None else ()
    return [user_id_of(getattr(user, "pk", user)) for user in watched]


@cache
def _hook(path: str) -> Any:
    return import_string(path)
