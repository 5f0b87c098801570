"""The snapshot: the whole public state of a task at a moment.

Snapshots are immutable and totally ordered by `(attempt, ended, seq)`; the larger wins, always and
everywhere. That one rule makes duplicates, reordering and reconnects harmless. Private things
(arguments, tracebacks, worker names) are not in it. Health is not in it either: whoever shows a
snapshot works it out from its two clocks (`core/health.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from telltale.core.states import State

SNAPSHOT_BYTES = 8_192
"""Upper bound of a whole encoded snapshot. The bounds of its texts, below, leave a sixth of it for the rest."""

TEXT_BYTES = 2_048
"""Upper bound of one text, as JSON in UTF-8: an error's words, or a link."""

MESSAGE_BYTES = 1_024
"""Of what is being done just now."""

REASON_BYTES = 512
"""Of why a task can't be cancelled."""

SHORT_BYTES = 255
"""Of a label, unit, stage name or task name."""

Order = tuple[int, bool, int]

_CONTROLS = dict.fromkeys((*range(32), 127)) | {ord("\n"): "\n", ord("\t"): "\t"}
_ESCAPED = ('"', "\\", "\n", "\t")


def bounded(text: str, limit: int = TEXT_BYTES) -> str:
    """`text` in at most `limit` bytes of JSON, without control characters; a cut is marked by an ellipsis.

    Those say nothing to people, take six bytes each, and PostgreSQL stores no NUL; lone surrogates are
    dropped because UTF-8 holds none.
    """
    if type(text) is str and text.isascii() and text.isprintable() and 2 * len(text) <= limit:
        return text  # As most are, ten times a second: nothing to drop, and no need to count.
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
    """How far a task is. Every field may be unknown (None)."""

    fraction: float | None = None
    """Of the whole, over all stages, 0 to 1; None while no total is known."""
    current: float | None = None
    """Done in the present stage, in `unit`s."""
    total: float | None = None
    unit: str = ""
    message: str = ""
    stage: str = ""
    """The present stage's name; empty without stages."""
    step: int = 0
    """Which outermost stage this is, from 1; 0 without stages."""
    steps: int | None = None
    """How many outermost stages there will be, where it was announced."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, always with every key."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`; unknown keys are ignored, so that newer senders are understood."""
        return cls(**{name: data[name] for name in cls.__slots__ if name in data})


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The public state of one task. Instants are seconds since 1970 by the store's clock."""

    id: str
    """The task's UUID, as text."""
    attempt: int
    """Which run this is, from 1 (also while the first is queued). A larger attempt fences all smaller ones."""
    seq: int
    """Changes within the attempt, from 0."""
    state: State
    name: str = ""
    """The dotted name of the function, as its runner knows it."""
    label: str = ""
    progress: Progress = field(default_factory=Progress)
    error: str | None = None
    """Words for people; never an exception's own text unless the task chose them."""
    reference: str | None = None
    """What a person can quote to staff about a failure."""
    result: str | None = None
    """A link to what the task made."""
    created_at: float = 0.0
    started_at: float | None = None
    """When the present attempt was claimed."""
    moved_at: float | None = None
    """The work's clock: when progress last moved."""
    beat_at: float | None = None
    """The process's clock: when its worker was last known to be alive."""
    ended_at: float | None = None
    due_at: float | None = None
    """While queued or retrying: when it is due to begin; None: as soon as a worker is free, or nobody knows."""
    ahead: int | None = None
    """While queued: how many tasks are before it; None while nobody knows."""
    is_listening: bool | None = None
    """While queued: whether any worker listens that would begin it; None while nobody knows."""
    remaining_s: float | None = None
    """Seconds left; None while no honest figure is known."""
    usual_s: tuple[float, float] | None = None
    """(median, 95th percentile) of earlier runs in seconds; None before there are enough."""
    cancel_requested: bool = False
    no_cancel: str | None = None
    """Why it can't be cancelled just now; None where it can."""

    @property
    def ended(self) -> bool:
        """Whether this attempt is over."""
        return self.state.ended

    @property
    def order(self) -> Order:
        """What decides which of two snapshots of one task is the newer.

        An end outranks all running snapshots of its attempt: progress may be published before it is
        saved, and `lost` is written by a reader who knows only what was saved.
        """
        return (self.attempt, self.ended, self.seq)

    def supersedes(self, other: "Snapshot | None") -> bool:
        """Whether this one is to be shown instead of `other`."""
        return other is None or self.order > other.order

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, always with every key, `state` and `ended` in words."""
        data = {name: getattr(self, name) for name in self.__slots__}
        return data | {
            "state": self.state.value,
            "ended": self.ended,
            "progress": self.progress.to_json(),
            "usual_s": list(self.usual_s) if self.usual_s else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`; unknown keys are ignored, so that newer senders are understood."""
        known = {name: data[name] for name in cls.__slots__ if name in data}
        usual = data.get("usual_s")
        return cls(
            **known
            | {
                "state": State(data["state"]),
                "progress": Progress.from_json(data.get("progress") or {}),
                "usual_s": (usual[0], usual[1]) if usual else None,
            }
        )
