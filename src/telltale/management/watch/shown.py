"""The text of a task for a terminal: the words of the pages, without characters that a terminal would obey."""

from dataclasses import dataclass
from typing import Final

from telltale import conf
from telltale.core.health import health
from telltale.core.snapshot import Snapshot
from telltale.core.states import Health
from telltale.pages.task_text import TaskText, describe

_SPACE: Final = " "


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTask:
    """A task at one moment, as a terminal shows it."""

    snapshot: Snapshot
    health: Health | None
    label: str
    words: str
    """The status and the detail."""
    text: TaskText


def show(snapshot: Snapshot, *, now: float) -> ShownTask:
    """Return the text of the task at `now` (seconds, the store's clock)."""
    condition = health(snapshot, now=now, limits=conf.settings().limits)
    text = describe(snapshot, condition, now=now)
    return ShownTask(
        snapshot=snapshot,
        health=condition,
        label=printable(snapshot.label or snapshot.name or snapshot.id),
        words=printable(" · ".join(filter(None, [text.status, text.detail]))),
        text=text,
    )


def printable(text: str) -> str:
    """Return `text` in one line, without control characters: a label or an error may hold codes of a terminal."""
    return "".join(character if character.isprintable() else _SPACE for character in text)
