"""A past attempt of a task, as the task's row keeps it: for the timeline on the task's pages."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from telltale.core.snapshot import SHORT_BYTES, bounded, known_fields
from telltale.core.states import KNOWN_STATES, State

KEPT: Final = 10
"""A row keeps this many past attempts, the newest. With all texts at their bounds they have less than 10 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastAttempt:
    """One attempt that a newer one has superseded. Instants are in seconds since 1970, by the store's clock."""

    number: int
    state: State
    """How it was left: an end; `retrying`, after a failure; or `running`, if its task was delivered again."""
    started_at: float | None = None
    """None if no worker began it."""
    ended_at: float | None = None
    """When it ended. If it was left running: the last contact with its worker."""
    next_at: float | None = None
    """When the next attempt was queued, or began if nothing queued it."""
    is_continued: bool = False
    """Whether its worker, which was presumed lost, continued it under the next number."""
    error: str | None = None
    """Its error, a text for people."""
    exception: str = ""
    """The last line of its traceback, for staff. Private."""
    worker: str = ""
    """The process that ran it. Private."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, without those that are empty."""
        values = asdict(self) | {"state": self.state.value}
        values |= {"error": self.error and bounded(self.error, SHORT_BYTES)}
        values |= {"exception": bounded(self.exception, SHORT_BYTES)}
        return {name: value for name, value in values.items() if value}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read `to_json`; names that this version does not know are left out. Raises `ValueError` for other states."""
        return cls(**known_fields(cls, values) | {"state": State(values["state"])})


def read_attempts(kept: Iterable[Any] | None) -> list[PastAttempt]:
    """Return a row's past attempts, the oldest first, without those in a state that this version does not know."""
    return [PastAttempt.from_json(values) for values in kept or () if values["state"] in KNOWN_STATES]


def with_attempt(kept: Iterable[Any] | None, attempt: PastAttempt) -> list[Any]:
    """Return the row's past attempts, as JSON, with one more: the newest `KEPT`."""
    return [*(kept or ()), attempt.to_json()][-KEPT:]


def last_line(traceback: str) -> str:
    """Return the last line of a traceback, which names the exception; empty if there is none."""
    lines = traceback.strip().splitlines()
    return lines[-1] if lines else ""
