"""The store's arguments and results, as frozen values. Nothing here reads or writes the database."""

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
    """The task that `queue` created or joined."""

    task: TaskState
    joined: bool
    """Whether it was there already, under the same key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One task of a group, before it is queued."""

    runner_id: str
    name: str
    label: str
    args: Sequence[Any] | None
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A change that was written, and the topics to publish it to."""

    snapshot: Snapshot
    topics: tuple[str, ...]
    notice: Notice | None = None
    """The notice of the task's end, if it has an owner."""
    group: "Changed | None" = None
    """The change of the group of which the task is a member, if any."""

    @property
    def envelopes(self) -> list[Envelope]:
        """The messages to publish."""
        envelopes = [Envelope(topics=self.topics, snapshot=self.snapshot)]
        if self.notice is not None:
            envelopes.append(Envelope(topics=(self.notice.topic,), notice=self.notice))
        return envelopes + (self.group.envelopes if self.group is not None else [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to run one attempt, until its lease expires or a newer attempt is claimed."""

    id: UUID
    attempt: int
    seq: int
    topics: tuple[str, ...]
    snapshot: Snapshot
    cancel_requested: bool = False
    trace: Mapping[str, str] | None = None
    """The trace of the request that started the task, as `tracing.carrier` returned it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A delivery that must not run. `state`: the task's state, which forbids it; None if there is no such task."""

    state: State | None
    is_superseded: bool = False
    """This delivery must not run: the task was queued again under a newer runner id, or has begun (`at_most_once`)."""
    changed: Changed | None = None
    """What the claim itself changed: a requested cancellation was carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A worker's report on an attempt that it runs; saving it renews the lease."""

    id: UUID
    attempt: int
    seq: int
    progress: Progress
    moved_at: float | None = None
    remaining_s: float | None = None
    remaining_spread: float | None = None
    no_cancel: str | None = None
    stage_times: Sequence[Any] | None = None
    """As `core.stage_times` returns them; None for the saved ones."""
    label: str | None = None
    """None leaves the label unchanged."""
    is_beat: bool = False
    """Only the lease is renewed: everything else was saved before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The result of saving a report."""

    id: UUID
    attempt: int
    fenced: bool
    """The attempt has ended or a newer one began: its worker must publish and save nothing more."""
    lost: bool = False
    """A reader presumed the attempt lost, and no newer one began: `take_back` continues it."""
    unknown: bool = False
    """There is no such row, or its transaction has not been committed yet."""
    cancel_requested: bool = False
    seq: int = 0
    topics: tuple[str, ...] = ()
    """The task's topics, if its owner has signed in since it was queued; empty if they are as they were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeHold:
    """Whether a page may show a notice now."""

    granted: bool
    seconds: float | None = None
    """Granted: how long the page may take until it confirms. Refused: when to ask again; None if never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """How many rows were deleted, and which tasks were given up."""

    tasks: int
    notices: int
    followers: int
    given_up: list[Changed]
