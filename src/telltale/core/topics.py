"""Topics: the names of what one follows.

`task:<uuid>`, `user:<pk>`, `session:<key>` and all of `telltale:…` are Telltale's; every other kind is the site's own
(`project:7`). A topic is text, so that it travels unchanged through brokers, tickets and pages.
"""

import re
from typing import Final

RESERVED: Final = frozenset({"task", "user", "session", "telltale"})
MAX_LENGTH: Final = 128

CANCELLATIONS: Final = "telltale:cancellations"
"""What worker processes follow: the tasks whose cancellation was requested."""

_FORM: Final = re.compile(r"[a-z][a-z0-9_-]*:[A-Za-z0-9_.@+-]+")


class InvalidTopic(ValueError):
    """A topic that can't be followed or published to."""


def task_topic(task_id: object) -> str:
    """The topic of one task's snapshots."""
    return f"task:{task_id}"


def user_topic(pk: object) -> str:
    """The topic of a signed-in person: their tasks and notices."""
    return f"user:{pk}"


def session_topic(key: str) -> str:
    """The topic of an anonymous visitor's session."""
    return f"session:{key}"


def is_topic(text: str) -> bool:
    """Whether `text` can be followed and published to."""
    return len(text) <= MAX_LENGTH and _FORM.fullmatch(text) is not None


def parse(topic: str) -> tuple[str, str]:
    """`topic` as (kind, name); raises `InvalidTopic`, naming the mend, if it has not that form."""
    if not is_topic(topic):
        raise InvalidTopic(
            f"{topic[:MAX_LENGTH]!r} is no topic: write kind:name, such as 'project:7', in at most "
            f"{MAX_LENGTH} letters, digits and _ . @ + -, the kind in lower case."
        )
    kind, _, name = topic.partition(":")
    return kind, name
