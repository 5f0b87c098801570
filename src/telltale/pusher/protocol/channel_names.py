"""The names of channels. The prefix of a name decides who may subscribe and what the channel can do."""

import re
from typing import Final

MAX_LENGTH: Final = 200
"""Characters of a channel's name, as the server libraries allow; the service's documentation says 164."""

USER_PREFIX: Final = "#server-to-user-"
"""A signed-in user's own channel is this and the user's id. All other names with # are reserved."""

_FORM: Final = re.compile(r"[-A-Za-z0-9_=@,.;]+")


def is_channel_name(name: object) -> bool:
    """Whether a client may subscribe to a channel of this name, a user's own channel excepted."""
    return isinstance(name, str) and len(name) <= MAX_LENGTH and _FORM.fullmatch(name) is not None


def is_private(name: str) -> bool:
    """Whether a subscription needs a signature; true for presence and encrypted channels too."""
    return name.startswith(("private-", "presence-"))


def is_presence(name: str) -> bool:
    """Whether the channel's members are known to each other."""
    return name.startswith("presence-")


def is_encrypted(name: str) -> bool:
    """Whether the data is encrypted from end to end; for the server such a channel is a private one."""
    return name.startswith("private-encrypted-")


def is_cache(name: str) -> bool:
    """Whether the channel keeps its last event for new subscribers."""
    return name.startswith(("cache-", "private-cache-", "private-encrypted-cache-", "presence-cache-"))


def user_channel(user_id: str) -> str:
    """Return the name of a signed-in user's own channel."""
    return f"{USER_PREFIX}{user_id}"


def user_of(name: str) -> str | None:
    """Return the user's id in the name of a user's own channel; None for every other name."""
    user_id = name.removeprefix(USER_PREFIX)
    return user_id if user_id and user_id != name else None
