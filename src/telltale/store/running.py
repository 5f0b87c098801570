"""Who may run a task: a claim begins an attempt, and a failure that its runner will make good hands it back.

The race: of many deliveries of one task, one begins the attempt; the UPDATE is conditional on the row as it was found.
Knows deliveries, not runners or threads. Called by `worker`.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError
from django.db.models import F
from django.db.models.functions import Greatest

from telltale import conf
from telltale.core.snapshot import bounded
from telltale.core.states import CLAIMABLE, State, sources
from telltale.models import TaskState
from telltale.store.clock import instant
from telltale.store.columns import AFRESH, BEGUN, open_key_of
from telltale.store.durations import usual_s_of
from telltale.store.ending import end
from telltale.store.rows import TRIES, change_of, in_transaction, task_rows, values_of
from telltale.store.values import Changed, Claim, Refusal


def claim(
    *,
    task_id: UUID | str | None = None,
    runner: str | None = None,
    runner_id: str | None = None,
    worker: str,
    now: float | None = None,
) -> Claim | Refusal:
    """Take the right to run a task that was delivered: the queued attempt, or a new one after the last.

    Succeeded and cancelled refuse redelivery. A cancellation that was requested and not yet obeyed is
    obeyed here: the task does not begin again.
    """
    for _try in range(TRIES):
        row = _find(task_id, runner, runner_id)
        if row is None:
            return Refusal(state=None)
        if task_id is not None and None not in (runner_id, row.runner_id) and runner_id != row.runner_id:
            return Refusal(state=State(row.state), is_superseded=True)
        if row.cancel_requested:
            ended = end(row.pk, row.attempt, State.CANCELLED, now=now)
            if ended is None and row.ended_at is None:
                continue
            return Refusal(state=State.CANCELLED, changed=ended)
        if State(row.state) not in CLAIMABLE:
            return Refusal(state=State(row.state))
        begun = _begin(row, worker, instant(now))
        if begun is not None:
            return begun
    return Refusal(state=State.RUNNING)


def _find(task_id: UUID | str | None, runner: str | None, runner_id: str | None) -> TaskState | None:
    if task_id is not None:
        return task_rows().filter(pk=task_id).first()
    if runner is None or runner_id is None:
        raise ValueError("A task is claimed by task_id, or by runner and runner_id together.")
    return task_rows().filter(runner=runner, runner_id=runner_id).first()


def _begin(row: TaskState, worker: str, at: float) -> Claim | None:
    attempt = row.attempt if row.state == State.QUEUED else row.attempt + 1
    fields: dict[str, Any] = dict(AFRESH) if attempt > row.attempt else {"seq": row.seq + 1, **BEGUN}
    fields |= {
        "attempt": attempt,
        "state": State.RUNNING.value,
        "worker": bounded(worker, 128),
        "usual_s": usual_s_of(row.name),
        "started_at": at,
        "beat_at": at,
        "lease_until": at + conf.settings().lease_s,
        "open_key": open_key_of(row.name, row.key),
    }
    try:
        return _take(row, fields)
    except IntegrityError:
        # It had ended, and another task has taken its key since. The runner's word to run it stands, so it
        # runs without the key.
        return _take(row, fields | {"key": None, "open_key": None})


def _take(row: TaskState, fields: Mapping[str, Any]) -> Claim | None:
    as_found = task_rows().filter(pk=row.pk, attempt=row.attempt, seq=row.seq, state=row.state, cancel_requested=False)
    if not as_found.update(**fields):
        return None
    # The condition holds all that counts, so the row is known without another look.
    for name, value in fields.items():
        setattr(row, name, value)
    return Claim(id=row.pk, attempt=row.attempt, seq=row.seq, topics=row.topics, snapshot=row.snapshot)


def set_retrying(
    task_id: UUID | str,
    attempt: int,
    *,
    seq: int = 0,
    due_at: float | None = None,
    error: str | None = None,
    now: float | None = None,
) -> Changed | None:
    """The attempt failed and its runner will run the task again; None if it had ended or is not the present one.

    Where a cancellation was requested there is no next time: it ends as cancelled.
    """
    at = instant(now)
    with in_transaction():
        running = task_rows().filter(pk=task_id, attempt=attempt, state__in=values_of(sources(State.RETRYING)))
        if running.filter(cancel_requested=False).update(
            state=State.RETRYING.value,
            seq=Greatest(F("seq") + 1, seq),  # Progress may have been published that was never saved.
            due_at=due_at,
            error=None if error is None else bounded(error),
            lease_until=None,  # It waits as a queued task does, for as long as its runner's queue is.
            remaining_s=None,
            no_cancel=None,
            beat_at=at,
        ):
            return change_of(task_id)
    return end(task_id, attempt, State.CANCELLED, now=now) if running.exists() else None
