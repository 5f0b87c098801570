"""The states of a task and the moves between them, as one table.

Everything that changes a state uses this table; `docs/design.md` draws it. The core decides which moves are allowed;
`store/` makes them, each in one conditional UPDATE.
"""

from enum import StrEnum


class State(StrEnum):
    """The state of one attempt of a task."""

    QUEUED = "queued"  # requested; no worker has begun it
    RUNNING = "running"  # a worker holds its lease
    RETRYING = "retrying"  # failed, and the runner will run it again
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # its lease expired

    @property
    def ended(self) -> bool:
        """Whether the attempt is over: only a new attempt can follow."""
        return self in ENDS


class Health(StrEnum):
    """How a running task is doing; `core.health.health` works it out when a snapshot is shown."""

    OK = "ok"
    QUIET = "quiet"  # its process is alive, but there was no progress for a while
    SLOW = "slow"  # it has taken longer than 95 % of earlier runs
    STALLED = "stalled"  # contact lost: the beat is overdue, the lease has not expired yet


KNOWN_STATES = frozenset(State)
"""Those of this version: a newer one may write others, as text, during an upgrade."""

ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.LOST})

# Within one attempt. A claim of a task that is not queued begins a new attempt, so it is not in this table.
MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED, State.FAILED}),
    State.RUNNING: frozenset({State.RETRYING, *ENDS}),
    State.RETRYING: frozenset({State.CANCELLED, State.FAILED, State.LOST}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.LOST: frozenset(),
}

# A delivery by the runner may run a task in one of these states: the queued attempt, else a new one. Succeeded and
# cancelled tasks are not run again by a redelivery: only a person's explicit retry does that.
CLAIMABLE = frozenset({State.QUEUED, State.RETRYING, State.RUNNING, State.LOST, State.FAILED})

# A person may ask for another attempt of a task in one of these states.
RETRIABLE = frozenset({State.FAILED, State.CANCELLED, State.LOST})


def sources(new: State) -> frozenset[State]:
    """The states from which an attempt may move to `new`: for the WHERE of a conditional UPDATE."""
    return frozenset(old for old, news in MOVES.items() if new in news)
