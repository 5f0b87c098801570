"""Keeps the attempt that a new one supersedes, for the timeline of the task.

The UPDATE that begins or queues the new attempt also writes this column, so it costs no statement. A task with one
attempt has no past ones.
"""

from typing import Any

from telltale.core.past_attempts import PastAttempt, last_line, with_attempt
from telltale.core.states import State
from telltale.models import TaskState


def past_attempts(row: TaskState, *, next_at: float | None, is_continued: bool = False) -> list[Any]:
    """Return the new value of the column `past_attempts`: a new attempt supersedes that of `row`, as it was read.

    `next_at`: when the new attempt was queued, in seconds since 1970; None if the runner decided that when the old one
    ended.
    """
    left_at = row.ended_at if row.ended_at is not None else row.beat_at
    attempt = PastAttempt(
        number=row.attempt,
        state=State(row.state),
        started_at=row.started_at,
        ended_at=left_at,
        next_at=left_at if next_at is None else next_at,
        is_continued=is_continued,
        error=row.error,
        exception=last_line(row.detail),
        worker=row.worker,
    )
    return with_attempt(row.past_attempts, attempt)
