"""Topics as names of Channels groups, and back.

A group's name has ASCII letters, digits and `- _ .`, and fewer than 100 characters. A topic may also have `: @ + %`,
and up to 512 characters. So:

    user:7                  telltale.user.7
    mail:ada@example.org    telltale.mail.ada_40example.org     `_` and two hexadecimal digits, as `%` in URLs
    my_kind:a_b             telltale.my_kind.a_5fb              a kind has no dot, so it needs no escapes
    a name that is too long telltale..<SHA-256 of the topic>    can't be reversed: messages carry their topics

No two topics have the same group, as far as no two texts have the same SHA-256.
"""

import re
from hashlib import sha256
from typing import Final

from telltale.core.topics import InvalidTopic, parse

MAX_LENGTH: Final = 99
"""Characters of a group's name: Channels allows fewer than 100."""

_PREFIX: Final = "telltale."
_DIGEST_PREFIX: Final = "telltale.."
"""No kind is empty, so no other group begins like this."""

_ESCAPE: Final = "_"
_UNESCAPED: Final = re.compile(r"[^A-Za-z0-9.-]")
_ESCAPED: Final = re.compile(r"_([0-9a-f]{2})")


class UnknownGroup(ValueError):
    """A group that does not name a topic."""


def group_of(topic: str) -> str:
    """Return the name of the group for `topic`; raises `InvalidTopic` for a malformed topic."""
    kind, name = parse(topic)
    group = f"{_PREFIX}{kind}.{_UNESCAPED.sub(_escape, name)}"
    if len(group) <= MAX_LENGTH:
        return group
    return _DIGEST_PREFIX + sha256(topic.encode()).hexdigest()


def topic_of(group: str) -> str:
    """Return the topic whose group this is.

    Raises `UnknownGroup` for a group that `group_of` did not make, and for the digest of a long topic.
    """
    if group.startswith(_DIGEST_PREFIX):
        raise UnknownGroup(
            f"{group!r} is the digest of a topic that is too long for the name of a group, so the topic can't be "
            "read from it: use the topic in the message, or shorter topics."
        )
    kind, _, name = group.removeprefix(_PREFIX).partition(".")
    topic = f"{kind}:{_ESCAPED.sub(_unescape, name)}"
    try:
        is_ours = group_of(topic) == group
    except InvalidTopic:
        is_ours = False
    if not is_ours:
        raise UnknownGroup(
            f"{group!r} is not the group of a topic: such groups are named by telltale.channels.group_of(topic), "
            "for example 'telltale.project.7'."
        )
    return topic


def _escape(match: re.Match[str]) -> str:
    return f"{_ESCAPE}{ord(match.group()):02x}"


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match.group(1), 16))
