"""Topics: the names that clients follow and messages are published to.

`task:<uuid>`, `user:<pk>` and `session:<name>` are Telltale's, and so are all topics of the kind `telltale`, which are
for processes and closed to sites. Every other kind is the site's own (`project:7`). A topic is text, so it travels
unchanged through brokers, tickets and pages.

A name has ASCII letters, digits and `_ . @ + -`. `escape` turns any other text into a name, so that a user's topic
carries any primary key:

    7                   user:7
    ada@example.org     user:ada@example.org        names stay as they are
    Ærø 7/a             user:%C3%86r%C3%B8%207%2Fa  each other byte of UTF-8 as `%` and two digits, as in URLs
    100%                user:100%25
"""

import re
from typing import Final

MAX_LENGTH: Final = 512
"""Characters of a topic. An e-mail address has up to 254, a user name up to 150; an escaped letter is 6 to 12 here. All
databases can index such a column."""

CANCELLATIONS: Final = "telltale:cancellations"
"""Worker processes follow it: the tasks whose cancellation was requested."""

RIGHTS: Final = "telltale:rights"
"""Web processes follow it: the sessions that have ended, and the users whose rights may have."""

USER_PREFIX: Final = "user:"
"""How the topics of users begin."""

_INTERNAL_KIND: Final = "telltale"

_FORM: Final = re.compile(r"[a-z][a-z0-9_-]{0,125}:(?:[A-Za-z0-9_.@+-]|%[0-9A-F]{2})+")
_NEEDS_ESCAPE: Final = re.compile(rb"[^A-Za-z0-9_.@+-]")
_ESCAPED: Final = re.compile(rb"%([0-9A-F]{2})")


class InvalidTopic(ValueError):
    """A topic that can't be followed or published to."""


def task_topic(task_id: object) -> str:
    """The topic of one task's snapshots."""
    return f"task:{task_id}"


def user_topic(pk: object) -> str:
    """The topic of a signed-in person: their tasks and notices. `pk`: the user's primary key, of any type.

    Two keys never have the same topic. Raises `InvalidTopic` for an empty key, and for one that is too long.
    """
    topic = f"user:{escape(str(pk))}"
    if not is_topic(topic):
        raise InvalidTopic(
            f"A user's primary key is {str(pk)[:40]!r}, whose topic has {len(topic):,} characters: it must have at "
            f"least one of its own, and {MAX_LENGTH} in all. Give the user model another key, such as an integer."
        )
    return topic


def escape(text: str) -> str:
    """Return `text` as the name of a topic; a text that is a name already stays as it is. `unescape` reverses it."""
    return _NEEDS_ESCAPE.sub(_percent, text.encode("utf-8", "surrogatepass")).decode("ascii")


def unescape(name: str) -> str:
    """Return the text that `escape` turned into this name."""
    return _ESCAPED.sub(_byte, name.encode()).decode("utf-8", "surrogatepass")


def _percent(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 16)])


def session_topic(name: str) -> str:
    """The topic of an anonymous visitor's session, by its name as an owner."""
    return f"session:{name}"


def is_topic(text: str) -> bool:
    """Whether `text` has the form of a topic."""
    return len(text) <= MAX_LENGTH and _FORM.fullmatch(text) is not None


def parse(topic: str) -> tuple[str, str]:
    """Return `topic` as (kind, name); raise `InvalidTopic`, which names the mend, if it has another form."""
    if not is_topic(topic):
        raise InvalidTopic(
            f"{topic[:MAX_LENGTH]!r} is no topic: write kind:name, such as 'project:7', in at most "
            f"{MAX_LENGTH} letters, digits and _ . @ + -, the kind in lower case. telltale.core.topics.escape makes a "
            "name of any text, and user_topic the topic of a user."
        )
    kind, _, name = topic.partition(":")
    return kind, name


def parse_open(topic: str) -> tuple[str, str]:
    """As `parse`, for what a site publishes to or clients follow; raise `InvalidTopic` for `telltale:…` too."""
    kind, name = parse(topic)
    if kind == _INTERNAL_KIND:
        raise InvalidTopic(
            f"{topic!r} is reserved: topics that begin with 'telltale:' are for Telltale's own processes. "
            "Use a topic of another kind, such as 'project:7'."
        )
    return kind, name
