"""The states of a task and the moves between them, as one table.

Everything that changes a state asks this table; `docs/design.md` draws it. The core decides what is
allowed; `store/` makes it so in one conditional UPDATE.
"""

from enum import StrEnum


class State(StrEnum):
    """Where one attempt of a task stands."""

    QUEUED = "queued"  # asked for; no worker has begun
    RUNNING = "running"  # a worker holds its lease
    RETRYING = "retrying"  # failed, and the runner will run it again
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # its worker let the lease lapse

    @property
    def ended(self) -> bool:
        """Whether this attempt is over: nothing but a new attempt follows."""
        return self in ENDS


class Health(StrEnum):
    """How a running task is doing, worked out at the moment of reading from its two clocks."""

    OK = "ok"
    QUIET = "quiet"  # the process is alive, but nothing has moved for a while
    SLOW = "slow"  # longer than 95 % of earlier runs
    STALLED = "stalled"  # contact lost: the beat is overdue, the lease not yet out


ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.LOST})

# Within one attempt. Claiming a task that is not queued begins a new attempt: that is no move of this table.
MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED, State.FAILED}),
    State.RUNNING: frozenset({State.RETRYING, *ENDS}),
    State.RETRYING: frozenset({State.CANCELLED, State.FAILED, State.LOST}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.LOST: frozenset(),
}

# A delivery that finds the task here may run it: the attempt that is queued, else a new one. Succeeded and
# cancelled are final against the runner's redeliveries: only a person's explicit retry reopens them.
CLAIMABLE = frozenset({State.QUEUED, State.RETRYING, State.RUNNING, State.LOST, State.FAILED})

# From here a person may ask for another attempt.
RETRIABLE = frozenset({State.FAILED, State.CANCELLED, State.LOST})


def may_move(old: State, new: State) -> bool:
    """Whether one attempt may go from `old` to `new`."""
    return new in MOVES[old]


def sources(new: State) -> frozenset[State]:
    """The states from which one attempt may reach `new`: the WHERE of a conditional UPDATE."""
    return frozenset(old for old, news in MOVES.items() if new in news)
