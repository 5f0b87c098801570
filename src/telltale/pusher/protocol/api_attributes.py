"""The attributes of channels that a request to the HTTP API asks for by `info`."""

from collections.abc import Collection
from typing import Final

from telltale.pusher.protocol.api_refusal import ApiRefusal, shown
from telltale.pusher.protocol.channel_names import is_cache, is_presence, user_of

USER_COUNT: Final = "user_count"
"""Distinct users of a presence channel."""
SUBSCRIPTION_COUNT: Final = "subscription_count"
"""Connections that subscribe to a channel; presence channels have none."""
CACHE: Final = "cache"
"""The last event of a cache channel."""

OF_EVENTS: Final = (USER_COUNT, SUBSCRIPTION_COUNT)
OF_CHANNELS: Final = (USER_COUNT, SUBSCRIPTION_COUNT)
OF_ONE_CHANNEL: Final = (USER_COUNT, SUBSCRIPTION_COUNT, CACHE)


def read(info: str | None, known: Collection[str]) -> tuple[str, ...]:
    """Return the attributes in a list with commas, each once; raises `ApiRefusal` for an unknown one."""
    names = [name.strip() for name in (info or "").split(",")]
    for name in names:
        if name and name not in known:
            raise ApiRefusal(400, f"info has {shown(name)}: the attributes here are {', '.join(known)}.")
    return tuple(dict.fromkeys(name for name in names if name))


def applies(attribute: str, channel: str) -> bool:
    """Whether a channel of this name has the attribute."""
    if user_of(channel) is not None:
        return False
    if attribute == CACHE:
        return is_cache(channel)
    return is_presence(channel) == (attribute == USER_COUNT)


def require(attributes: Collection[str], channel: str) -> None:
    """Raise `ApiRefusal` if the channel lacks one of the attributes."""
    for attribute in attributes:
        if not applies(attribute, channel):
            raise ApiRefusal(400, f"info has {attribute}, which {shown(channel)} has not: {_OWNERS[attribute]}.")


def require_prefix(attributes: Collection[str], prefix: str) -> None:
    """Raise `ApiRefusal` if users are to be counted in channels that are not all presence channels."""
    if USER_COUNT in attributes and not is_presence(prefix):
        raise ApiRefusal(400, f"info has {USER_COUNT}: {_OWNERS[USER_COUNT]}; add filter_by_prefix=presence-.")


_OWNERS: Final = {
    USER_COUNT: "only presence channels count users",
    SUBSCRIPTION_COUNT: "presence channels count users instead, and users' own channels count nothing",
    CACHE: "only cache channels keep an event",
}
