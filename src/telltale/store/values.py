"""What the store is told and what it answers: frozen values, the vocabulary of all who call it.

Knows the core's words and the row. Must not know the database: nothing here reads or writes. Every module of the
store makes these; `worker`, `runners`, `web` and `messages` take them from `telltale.store`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import State
from telltale.core.wire import Envelope, Notice
from telltale.models import TaskState


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """What `queue` found or made."""

    task: TaskState
    joined: bool
    """Whether it was there already, under the same key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One task of a whole, as it is to be queued."""

    runner_id: str
    name: str
    label: str
    args: Sequence[Any] | None
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A change that happened, and who may know of it."""

    snapshot: Snapshot
    topics: tuple[str, ...]
    notice: Notice | None = None
    """Of the task's end, if somebody owns it."""
    group: "Changed | None" = None
    """The change of the group of which the task is a member, if any."""

    @property
    def envelopes(self) -> list[Envelope]:
        """As a broker carries it."""
        told = [Envelope(topics=self.topics, snapshot=self.snapshot)]
        if self.notice is not None:
            told.append(Envelope(topics=(self.notice.topic,), notice=self.notice))
        return told + (self.group.envelopes if self.group is not None else [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to run one attempt, until its lease lapses or a newer attempt is claimed."""

    id: UUID
    attempt: int
    seq: int
    topics: tuple[str, ...]
    snapshot: Snapshot
    cancel_requested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a delivery may not run: the state that forbids it; None if there is no such task."""

    state: State | None
    is_superseded: bool = False
    """The runner has been given the task anew since, under another id: this delivery is not to run at all."""
    changed: Changed | None = None
    """What the asking itself changed: a cancellation that had been requested came into force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a worker has to say about an attempt that it runs; saving it renews the lease."""

    id: UUID
    attempt: int
    seq: int
    progress: Progress
    moved_at: float | None = None
    remaining_s: float | None = None
    no_cancel: str | None = None
    label: str | None = None
    """None leaves it as it is."""
    is_beat: bool = False
    """A sign of life, and nothing else: all but the clocks is saved already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What became of a report."""

    id: UUID
    attempt: int
    fenced: bool
    """The attempt has ended or a newer one owns the task: its worker may say no more."""
    unknown: bool = False
    """There is no such row, or it is not committed yet."""
    cancel_requested: bool = False
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How much was deleted, and what was given up."""

    tasks: int
    notices: int
    given_up: list[Changed]
