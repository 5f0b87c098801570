"""The one statement that ends a task, with what belongs to an end: the owner's notice and the run's duration.

The race of all ends is decided here: the UPDATE that finds the row open ends the task. Groups end by this too.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any
from uuid import UUID

from django.db.models import F, Q

from telltale.core.states import State
from telltale.core.wire import Notice
from telltale.models import TaskState
from telltale.store.columns import NOT_WAITING
from telltale.store.durations import add_duration
from telltale.store.notices import add_end_notice
from telltale.store.rows import in_transaction, task_rows, values_of


def write_end(
    task_id: UUID | str,
    state: State,
    *,
    from_states: frozenset[State],
    condition: Q,
    fields: Mapping[str, Any],
    ended_at: float,
    is_owned: bool = True,
) -> tuple[TaskState, Notice | None] | None:
    """End an open task that is in one of `from_states` and meets `condition`; None if there is no such task.

    Return the row after its end, and the owner's notice. `fields`: other columns to set.
    """
    with in_transaction() if is_owned else nullcontext():
        columns = {"state": state.value, "seq": F("seq") + 1, "ended_at": ended_at, **fields}
        columns |= {"lease_until": None, "remaining_s": None, "remaining_spread": None, "no_cancel": None}
        columns |= {"open_key": None, **NOT_WAITING}
        if state is State.CANCELLED:
            columns["cancel_requested"] = True
        states = values_of(from_states)
        if not task_rows().filter(condition, pk=task_id, ended_at=None, state__in=states).update(**columns):
            return None
        row = task_rows().get(pk=task_id)
        notice = add_end_notice(row, ended_at) if is_owned else None
    if state is State.SUCCEEDED and row.started_at is not None:
        add_duration(row.name, ended_at - row.started_at)
    return row, notice
