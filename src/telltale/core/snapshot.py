"""The snapshot: the whole public state of a task at a moment.

Snapshots are immutable and totally ordered by `(attempt, ended, seq)`; the larger wins, everywhere (`supersedes`).
This one rule makes duplicates, reordering and reconnects harmless. Private things (arguments, tracebacks, worker
names) are not in a snapshot. Health is not in it either: `core/health.py` works it out from the two clocks when a
snapshot is shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from telltale.core.states import State

# Upper bounds of texts, as JSON in UTF-8. With all texts at their bounds an encoded snapshot stays below 8 KiB.

TEXT_BYTES = 2_048
"""Of an error's words, and of a link."""

MESSAGE_BYTES = 1_024
"""Of the message about what the task is doing."""

REASON_BYTES = 512
"""Of the reason why a task can't be cancelled."""

SHORT_BYTES = 255
"""Of a label, unit, stage name or task name."""

RETURN_BYTES = 8_192
"""Of the JSON of a task's return value, which is not part of the snapshot."""

MAX_BORDERS = 9
"""Of the borders between stages: a bar with more would be a row of dots."""

Order = tuple[int, bool, int]
"""`(attempt, ended, seq)` of a snapshot.

An end outranks all running snapshots of its attempt: progress may be published before it is saved, and `lost` is
written by a reader that knows only what was saved.
"""


def known_fields(cls: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a dataclass with slots has fields for: newer senders and writers may add some."""
    return {name: data[name] for name in cls.__slots__ if name in data}


def supersedes(order: Order, other: Order | None) -> bool:
    """Whether the snapshot with `order` replaces one of the same task with the order `other` (None: there is none).

    The only comparison of snapshots; `supersedes` in `static/telltale/live/snapshots.js` is the same rule.
    """
    return other is None or order > other


UNSAVED_CHANGES = 100
"""How far the `seq` that a worker publishes may be ahead of a save of this moment."""


CHANGES_PER_S = 100
"""The most changes that a worker publishes in a second: `PUBLISH_EVERY_S` is at least 0.01."""


def is_credible(heard: Order, saved: Order, *, beat_at: float | None, now: float) -> bool:
    """Whether a snapshot with the order `heard` can be true, if the store was read later and has `saved`.

    Attempts and ends are committed before they are published, so the store has them. Only the progress of a running
    attempt may be ahead, by what its worker can have published since the saved beat. `beat_at`: that beat; None if the
    saved attempt does not run. `now`: the store's time.
    """
    if heard <= saved:
        return True
    if beat_at is None or heard[:2] != saved[:2]:
        return False
    return heard[2] - saved[2] <= UNSAVED_CHANGES + CHANGES_PER_S * max(0.0, now - beat_at)


_CONTROLS = dict.fromkeys((*range(32), 127)) | {ord("\n"): "\n", ord("\t"): "\t"}
_ESCAPED = ('"', "\\", "\n", "\t")


def bounded(text: str, limit: int = TEXT_BYTES) -> str:
    """Return `text` in at most `limit` bytes of JSON; an ellipsis marks a cut.

    Control characters are dropped: people can't read them, each takes six bytes, and PostgreSQL stores no NUL. Lone
    surrogates are dropped because UTF-8 has none.
    """
    if type(text) is str and text.isascii() and text.isprintable() and 2 * len(text) <= limit:
        return text  # Most texts, ten times a second: nothing to drop, and no need to count.
    kept = text.translate(_CONTROLS).encode("utf-8", "ignore").decode()
    if _json_bytes(kept) <= limit:
        return kept
    kept = kept[: limit - 3]
    while (over := _json_bytes(kept) + 3 - limit) > 0:
        kept = kept[: -max(1, over // 4)]
    return kept + "…"


def _json_bytes(text: str) -> int:
    return len(text.encode()) + sum(text.count(character) for character in _ESCAPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a task is. Numbers are None while unknown, texts are empty."""

    fraction: float | None = None
    """Of the whole task, over all stages, 0 to 1; None while no total is known."""
    current: float | None = None
    """Done in the present stage, in `unit`s."""
    total: float | None = None
    unit: str = ""
    message: str = ""
    stage: str = ""
    """The present stage's name; empty without stages."""
    step: int = 0
    """The number of the present outermost stage, from 1; 0 without stages."""
    steps: int | None = None
    """How many outermost stages there will be, if the task said so."""
    borders: tuple[float, ...] = ()
    """Where one outermost stage ends and the next begins, as shares of the whole, ascending; those that are known."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, with every key but `borders`, which is there only if there are some."""
        data = {name: getattr(self, name) for name in self.__slots__}
        borders = data.pop("borders")
        return data | {"borders": list(borders)} if borders else data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reverse `to_json`; unknown keys are ignored, because newer senders may add some."""
        known = known_fields(cls, data)
        return cls(**known | {"borders": tuple(data.get("borders") or ())})


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The public state of one task. Instants are seconds since 1970 by the store's clock."""

    id: str
    """The task's UUID, as text."""
    attempt: int
    """The number of this run, from 1 (also while it is queued). A larger attempt fences all smaller ones."""
    seq: int
    """How many changes there were within the attempt, from 0."""
    state: State
    name: str = ""
    """The dotted name of the function, as its runner knows it."""
    label: str = ""
    progress: Progress = field(default_factory=Progress)
    error: str | None = None
    """Why it failed, in words for people; never an exception's own text, unless the task chose it."""
    reference: str | None = None
    """A code that a person can quote to staff about a failure."""
    result: str | None = None
    """A link to the result."""
    has_return_value: bool = False
    """Whether the task's return value was kept. Only its owner may read it, so the value itself is not here."""
    created_at: float = 0.0
    started_at: float | None = None
    """When the present attempt was claimed."""
    moved_at: float | None = None
    """The clock of the work: when progress last moved."""
    beat_at: float | None = None
    """The clock of the process: when its worker was last known to be alive."""
    ended_at: float | None = None
    due_at: float | None = None
    """While queued or retrying: when it is due to begin; None: as soon as a worker is free, or unknown."""
    ahead: int | None = None
    """While queued: how many tasks are before it; None while unknown."""
    is_listening: bool | None = None
    """While queued: whether any worker listens to its queue; None while unknown."""
    missing_since: float | None = None
    """While queued or retrying: since when no worker begins it although nothing is in the way, so that its runner may
    have lost it; None while nothing says so."""
    remaining_s: float | None = None
    """Seconds left; None while there is no reliable estimate."""
    remaining_spread: float | None = None
    """The standard error of `remaining_s`, as a share of it (0 to 1); None if there is none, or it is small."""
    usual_s: tuple[float, float] | None = None
    """(median, 95th percentile) of earlier runs in seconds; None before there are enough."""
    cancel_requested: bool = False
    no_cancel: str | None = None
    """Why the task can't be cancelled at the moment, in its own words; None if it gave no reason."""

    @property
    def ended(self) -> bool:
        """Whether this attempt is over."""
        return self.state.ended

    @property
    def order(self) -> Order:
        """Its place in the order of all snapshots of its task: see `supersedes`."""
        return (self.attempt, self.ended, self.seq)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, with every key and with `ended`."""
        data = {name: getattr(self, name) for name in self.__slots__}
        return data | {
            "state": self.state.value,
            "ended": self.ended,
            "progress": self.progress.to_json(),
            "usual_s": list(self.usual_s) if self.usual_s else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reverse `to_json`; unknown keys are ignored, because newer senders may add some."""
        known = known_fields(cls, data)
        usual = data.get("usual_s")
        return cls(
            **known
            | {
                "state": State(data["state"]),
                "progress": Progress.from_json(data.get("progress") or {}),
                "usual_s": (usual[0], usual[1]) if usual else None,
            }
        )
