"""Topics as names of channels, and back.

`task:4b8e…` is `private-task-4b8e…`, `user:7` is `private-user-7`, a site's own `project:7` is `private-project-7`.
`TELLTALE["PUSHER_CHANNELS"]` gives own kinds another type: with `{"news": "public"}`, `news:today` is `news-today`.

A name of a channel is: the type's prefix, the kind, a hyphen, the topic's name. Channels allow neither `+` nor `:`, and
the first hyphen must end the kind, so a few characters are replaced: `+` in a name by `,`, a hyphen in a kind by `;`,
every other character that channels don't allow by `=` and two hexadecimal digits for each of its bytes. A kind that is
the name of a type is written with its first letter replaced in this way. So no two topics share a channel.
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

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.@-]")
_ESCAPED: Final = re.compile(r"=([0-9A-F]{2})")
_RESERVED_KINDS: Final = frozenset({"private", "presence", "encrypted", "cache"})
"""Kinds that would make a name look like that of another type."""


def type_of(kind: str, types: Mapping[str, str]) -> str:
    """Return the type of the channels of topics of this kind. `types`: the setting `PUSHER_CHANNELS`."""
    return DEFAULT_TYPE if kind in TELLTALES_KINDS else types.get(kind, DEFAULT_TYPE)


def channel_of(topic: str, types: Mapping[str, str]) -> str:
    """Return the name of the channel of a topic; raise `InvalidTopic` for a topic that no page can follow."""
    kind, name = parse_open(topic)
    escaped_kind = "".join(";" if character == "-" else _escape(character) for character in kind)
    if kind in _RESERVED_KINDS:
        escaped_kind = f"={ord(kind[0]):02X}{kind[1:]}"
    channel = f"{PREFIXES[type_of(kind, types)]}{escaped_kind}-{escape_name(name)}"
    if len(channel) > MAX_LENGTH:
        raise InvalidTopic(
            f"{topic!r} has a channel of {len(channel)} characters, and at most {MAX_LENGTH} are allowed: "
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
    return "".join("," if character == "+" else _escape(character) for character in name)


def _escape(character: str) -> str:
    if _PLAIN.fullmatch(character):
        return character
    return "".join(f"={byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _read(text: str) -> str | None:
    kind, separator, name = text.partition("-")
    if not separator:
        return None
    return f"{_unescape(kind.replace(';', '-'))}:{_unescape(name.replace(',', '+'))}"


def _unescape(text: str) -> str:
    escaped = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    # Bytes of a character that is not ASCII follow each other.
    return escaped.encode("latin-1", "replace").decode("utf-8", "replace")


def _has_channel(topic: str, channel: str, types: Mapping[str, str]) -> bool:
    # The way back must lead to the same name: so each topic has one channel, of one type.
    try:
        return is_topic(topic) and channel_of(topic, types) == channel
    except InvalidTopic:
        return False
