"""The signed JSON with which a site vouches for a user: a presence channel's member, or the user of a sign-in."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from telltale.pusher.protocol.strict_json import InvalidJson, byte_count, decode
from telltale.pusher.pusher_apps import AppLimits


class InvalidUserData(ValueError):
    """Signed data that breaks a rule; the text says which."""


class Member(NamedTuple):
    """A member of a presence channel."""

    user_id: str
    user_info: Any = None
    """Any JSON; None if the site gave none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The user of a signed-in connection."""

    id: str
    info: Any = None
    """Stands in for the user's data on presence channels."""
    data: str
    """The JSON text that was signed, as it was received."""
    watchlist: tuple[str, ...] = ()
    """Ids of users. This user is told when they come online and go offline."""
    is_watchlist_cut: bool = False
    """Whether the list was longer than the limit, so that only its first entries are here."""


def read_member(channel_data: str, limits: AppLimits) -> Member:
    """Return the member in a subscription's `channel_data`; raises `InvalidUserData`."""
    data = _read_object(channel_data, "channel_data")
    user_id = data.get("user_id")
    if isinstance(user_id, int) and not isinstance(user_id, bool):
        user_id = str(user_id)
    if not isinstance(user_id, str) or not user_id:
        raise InvalidUserData('channel_data needs a "user_id", which is a string or a whole number.')
    return _checked_member(Member(_checked_id(user_id, limits), data.get("user_info")), limits)


def member_of(user: User, limits: AppLimits) -> Member:
    """Return the member that a signed-in user is without `channel_data`; raises `InvalidUserData`."""
    return _checked_member(Member(user.id, user.info), limits)


def read_user(user_data: str, limits: AppLimits) -> User:
    """Return the user in a sign-in's `user_data`; raises `InvalidUserData`."""
    data = _read_object(user_data, "user_data")
    user_id = data.get("id")
    if not isinstance(user_id, str) or not user_id:
        raise InvalidUserData('user_data needs an "id", which is a string that is not empty.')
    watchlist = [] if data.get("watchlist") is None else data["watchlist"]
    if not isinstance(watchlist, list) or not all(isinstance(watched, str) for watched in watchlist):
        raise InvalidUserData('The "watchlist" of user_data is a list of user ids, which are strings.')
    return User(
        id=_checked_id(user_id, limits),
        info=data.get("user_info"),
        data=user_data,
        watchlist=tuple(dict.fromkeys(watchlist[: limits.watchlist])),
        is_watchlist_cut=len(watchlist) > limits.watchlist,
    )


def _checked_id(user_id: str, limits: AppLimits) -> str:
    if len(user_id) > limits.user_id_length:
        raise InvalidUserData(f"The user's id has more than {limits.user_id_length} characters.")
    return user_id


def _read_object(text: str, name: str) -> dict[str, Any]:
    try:
        value = decode(text)
    except InvalidJson as error:
        raise InvalidUserData(f"{name} is not valid JSON.") from error
    if not isinstance(value, dict):
        raise InvalidUserData(f"{name} is not a JSON object.")
    return value


def _checked_member(member: Member, limits: AppLimits) -> Member:
    size = byte_count(member.user_info)
    if size > limits.user_data_bytes:
        raise InvalidUserData(f"The user_info has {size:,} bytes; {limits.user_data_bytes:,} are allowed.")
    return member
