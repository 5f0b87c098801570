"""The one statement that ends a task, with what belongs to an end: the owner's notice and the run's duration.

The race of all ends is decided here: the UPDATE that finds the row open ends the task. Groups end by this too.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any
from uuid import UUID

from telltale.core.states import State
from telltale.core.wire import Notice
from telltale.models import TaskState
from telltale.store.columns import NOT_WAITING
from telltale.store.durations import add_duration
from telltale.store.notices import add_end_notice
from telltale.store.rows import in_transaction, values_of
from telltale.store.statements import NextSeq, update_and_read_row


def write_end(
    task_id: UUID | str,
    state: State,
    *,
    from_states: frozenset[State],
    condition: Mapping[str, Any],
    fields: Mapping[str, Any],
    ended_at: float,
    is_owned: bool = True,
) -> tuple[TaskState, Notice | None] | None:
    """End an open task that is in one of `from_states` and meets `condition`; None if there is no such task.

    Return the row after its end, and the owner's notice. `condition`: as `statements.Conditions`. `fields`: other
    columns to set.
    """
    with in_transaction() if is_owned else nullcontext():
        columns = {"state": state.value, "seq": NextSeq(), "ended_at": ended_at, **fields}
        columns |= {"lease_until": None, "remaining_s": None, "remaining_spread": None, "no_cancel": None}
        columns |= {"open_key": None, **NOT_WAITING}
        if state is State.CANCELLED:
            columns["cancel_requested"] = True
        where = {"id": task_id, **condition, "ended_at": None, "state": tuple(values_of(from_states))}
        row = update_and_read_row(where, columns)
        if row is None:
            return None
        notice = add_end_notice(row, ended_at) if is_owned else None
    if state is State.SUCCEEDED and row.started_at is not None:
        add_duration(row.name, ended_at - row.started_at)
    return row, notice
