"""The addresses of the HTTP transports. Pure.

    POST /app/KEY/NUMBER/SESSION/xhr_streaming    receive: a response that goes on
    POST /app/KEY/NUMBER/SESSION/xhr              receive: one response for each batch of messages
    POST /app/KEY/NUMBER/SESSION/xhr_send         send

pusher-js puts `/pusher` before these paths unless the page's `httpPath` says otherwise, and it can't be told to put
nothing there. So they are served below `/pusher` too, whatever the prefix of the other addresses is.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from telltale.pusher.server.paths import inner_path

DEFAULT_PREFIX: Final = "/pusher"

_PATH: Final = re.compile(
    r"/app/(?P<key>[^/]+)/(?P<session>[0-9]{1,4}/[0-9A-Za-z_-]{8,64})/(?P<action>xhr_streaming|xhr|xhr_send)/?"
)


class Action(StrEnum):
    """What a request does; the last part of its path."""

    STREAM = "xhr_streaming"
    POLL = "xhr"
    SEND = "xhr_send"


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackAddress:
    """A parsed path."""

    key: str
    """The app's."""
    session: str
    """Made up by the client: a number and a random name, such as "123/0a1b2c3d"."""
    action: Action


def fallback_address(path: str, root_path: str, prefix: str) -> FallbackAddress | None:
    """Return what a request's path names; None if it is another path. Arguments as for `inner_path`."""
    for mount in (prefix, DEFAULT_PREFIX):
        inner = inner_path(path, root_path, mount)
        match = None if inner is None else _PATH.fullmatch(inner)
        if match is not None:
            return FallbackAddress(key=match["key"], session=match["session"], action=Action(match["action"]))
    return None
