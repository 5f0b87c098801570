"""Topics as names of channels, and back.

`task:4b8e…` is `private-task-4b8e…`, `user:7` is `private-user-7`, a site's own `project:7` is `private-project-7`.
`TELLTALE["PUSHER_CHANNELS"]` gives own kinds another type: with `{"news": "public"}`, `news:today` is `news-today`.

A name of a channel is: the type's prefix, the kind, a hyphen, the topic's name. Channels don't allow all characters of
topics, and the first hyphen must end the kind, so some are replaced: in a name `+` by `,` and `%` by `=`, in a kind `-`
by `;`. A kind that is the name of a type has its first letter in hexadecimal, such as `=63ache`. So no two topics share
a channel.
"""

import re
from collections.abc import Mapping
from typing import Final

from telltale.core.topics import InvalidTopic, is_topic, parse_open

MAX_LENGTH: Final = 164
"""Characters of a channel's name, by the service's documentation."""

DEFAULT_TYPE: Final = "private"

PREFIXES: Final = {
    "public": "",
    "private": "private-",
    "presence": "presence-",
    "private-encrypted": "private-encrypted-",
    "cache": "cache-",
    "private-cache": "private-cache-",
    "presence-cache": "presence-cache-",
    "private-encrypted-cache": "private-encrypted-cache-",
}
"""The types of channels, and how their names begin."""

TELLTALES_KINDS: Final = frozenset({"task", "user", "session"})
"""The kinds of topics that carry snapshots and notices: their channels are private."""

_IN_NAMES: Final = str.maketrans("+%", ",=")
_BACK_IN_NAMES: Final = str.maketrans(",=", "+%")
_FIRST_LETTER: Final = re.compile(r"=([0-9A-F]{2})")
_RESERVED_KINDS: Final = frozenset({"private", "presence", "encrypted", "cache"})
"""Kinds that would make a name look like that of another type."""


def type_of(kind: str, types: Mapping[str, str]) -> str:
    """Return the type of the channels of topics of this kind. `types`: the setting `PUSHER_CHANNELS`."""
    return DEFAULT_TYPE if kind in TELLTALES_KINDS else types.get(kind, DEFAULT_TYPE)


def channel_of(topic: str, types: Mapping[str, str]) -> str:
    """Return the name of a topic's channel; raise `InvalidTopic` if it has none, being for processes or too long."""
    kind, name = parse_open(topic)
    first = f"={ord(kind[0]):02X}" if kind in _RESERVED_KINDS else kind[0]
    channel = f"{PREFIXES[type_of(kind, types)]}{first}{kind[1:].replace('-', ';')}-{escape_name(name)}"
    if len(channel) > MAX_LENGTH:
        raise InvalidTopic(
            f"{topic!r} would have a channel of {len(channel)} characters, and at most {MAX_LENGTH} are allowed: "
            "use a shorter topic."
        )
    return channel


def topic_of(channel: str, types: Mapping[str, str]) -> str | None:
    """Return the topic of a channel; None if it is the channel of no topic, such as a site's own channel."""
    # Tried for each type, because the name of a private channel may look like one of a private cache channel.
    for prefix in PREFIXES.values():
        if not channel.startswith(prefix):
            continue
        topic = _read(channel.removeprefix(prefix))
        if topic is not None and _has_channel(topic, channel, types):
            return topic
    return None


def escape_name(name: str) -> str:
    """Return a topic's name with characters that channels and ids of their users may have."""
    return name.translate(_IN_NAMES)


def _read(text: str) -> str | None:
    kind, separator, name = text.partition("-")
    if not separator:
        return None
    kind = _FIRST_LETTER.sub(lambda match: chr(int(match[1], 16)), kind, count=1)
    return f"{kind.replace(';', '-')}:{name.translate(_BACK_IN_NAMES)}"


def _has_channel(topic: str, channel: str, types: Mapping[str, str]) -> bool:
    # The way back must lead to the same name: so each topic has one channel, of one type.
    try:
        return is_topic(topic) and channel_of(topic, types) == channel
    except InvalidTopic:
        return False
