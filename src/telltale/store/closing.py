"""The one statement by which every end is written, and what belongs to it: the owner's notice, the run's duration.

The race of all ends: whoever's UPDATE finds the row open has ended it, once. Knows nothing of wholes, which end by this
too. Called by `ending` and `wholes`.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any
from uuid import UUID

from django.db.models import F, Q

from telltale.core.states import State
from telltale.core.wire import Notice
from telltale.models import TaskState
from telltale.store.columns import BEGUN
from telltale.store.durations import learn
from telltale.store.notices import tell_owner
from telltale.store.rows import in_transaction, task_rows, values_of


def close(
    task_id: UUID | str,
    only: Q,
    state: State,
    olds: frozenset[State],
    fields: Mapping[str, Any],
    at: float,
    *,
    is_owned: bool = True,
) -> tuple[TaskState, Notice | None] | None:
    """The row as it ended, and its owner's notice; None if it was not in one of `olds`, or not what `only` asks for."""
    with in_transaction() if is_owned else nullcontext():
        told = {"state": state.value, "seq": F("seq") + 1, "ended_at": at, **fields}
        told |= {"lease_until": None, "remaining_s": None, "no_cancel": None, "open_key": None, **BEGUN}
        if state is State.CANCELLED:
            told["cancel_requested"] = True
        if not task_rows().filter(only, pk=task_id, ended_at=None, state__in=values_of(olds)).update(**told):
            return None
        row = task_rows().get(pk=task_id)
        notice = tell_owner(row, at) if is_owned else None
    if state is State.SUCCEEDED and row.started_at is not None:
        learn(row.name, at - row.started_at)
    return row, notice
