"""Topics: the names that clients follow and messages are published to.

`task:<uuid>`, `user:<pk>` and `session:<key>` are Telltale's, and so are all topics of the kind `telltale`, which are
for processes and closed to sites. Every other kind is the site's own (`project:7`). A topic is text, so it travels
unchanged through brokers, tickets and pages.
"""

import re
from typing import Final

MAX_LENGTH: Final = 128

CANCELLATIONS: Final = "telltale:cancellations"
"""Worker processes follow it: the tasks whose cancellation was requested."""

_INTERNAL_KIND: Final = "telltale"

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
    """Whether `text` has the form of a topic."""
    return len(text) <= MAX_LENGTH and _FORM.fullmatch(text) is not None


def parse(topic: str) -> tuple[str, str]:
    """Return `topic` as (kind, name); raise `InvalidTopic`, which names the mend, if it has another form."""
    if not is_topic(topic):
        raise InvalidTopic(
            f"{topic[:MAX_LENGTH]!r} is no topic: write kind:name, such as 'project:7', in at most "
            f"{MAX_LENGTH} letters, digits and _ . @ + -, the kind in lower case."
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
