"""Which delivery may run a task: a claim begins an attempt, and `set_retrying` gives a failed one back to the runner.

The race: of many deliveries of one task, one begins the attempt. The UPDATE requires the row as it was read.
`take_back` takes part in that race: a worker whose attempt was presumed lost continues it under the next number,
unless a delivery or a person has begun that one.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import IntegrityError
from django.db.models import F
from django.db.models.functions import Greatest

from telltale import conf
from telltale.core.snapshot import SHORT_BYTES, Progress, bounded
from telltale.core.states import CLAIMABLE, State, sources
from telltale.models import TaskState
from telltale.store.clock import or_now
from telltale.store.columns import NEW_ATTEMPT, NOT_WAITING, open_key_of
from telltale.store.durations import usual_duration_s
from telltale.store.ending import end
from telltale.store.group_reopening import reopen_group
from telltale.store.lock_waits import limited_lock_waits, update_row_without_waiting
from telltale.store.notices import revoke_end_notice
from telltale.store.past_attempts import past_attempts
from telltale.store.rows import (
    MAX_TRIES,
    database,
    in_transaction,
    read_change,
    task_rows,
    values_of,
)
from telltale.store.statements import find_row, update_row
from telltale.store.values import Changed, Claim, Refusal

logger = logging.getLogger(__name__)


def claim(
    *,
    task_id: UUID | str | None = None,
    runner: str | None = None,
    runner_id: str | None = None,
    name: str | None = None,
    worker: str,
    at_most_once: bool = False,
    now: float | None = None,
) -> Claim | Refusal:
    """Claim the right to run a task that was delivered: the queued attempt, or a new one after the last.

    Name the task by `task_id`, or by `runner` and `runner_id`. A task that succeeded or was cancelled refuses another
    delivery; with `at_most_once`, so does every task that is not queued. If a cancellation was requested, the task ends
    here as cancelled instead of beginning again. A row that is not of this runner, or of neither this `runner_id` nor
    this `name`, refuses too: the message was forged, or names a wrong row.

    Raises `RowLocked` if another transaction holds the row, such as one of the site's that has read it for an update:
    the run need not wait for its end. With `at_most_once` it waits, because another delivery may run meanwhile.
    """
    for _try in range(MAX_TRIES):
        row = _find(task_id, runner, runner_id)
        if row is None:
            return Refusal(state=None, is_superseded=at_most_once)
        if _is_of_other_task(row, runner, runner_id, name):
            logger.warning("%s %s (%s) names the row of another task: %s.", runner, name, runner_id, row.pk)
            return Refusal(state=State(row.state), is_superseded=at_most_once)
        if task_id is not None and None not in (runner_id, row.runner_id) and runner_id != row.runner_id:
            return Refusal(state=State(row.state), is_superseded=True)
        if at_most_once and row.state != State.QUEUED:
            return Refusal(state=State(row.state), is_superseded=True)
        if row.cancel_requested:
            with nullcontext() if at_most_once else limited_lock_waits():
                ended = end(row.pk, row.attempt, State.CANCELLED, now=now)
            if ended is None and row.ended_at is None:
                continue
            return Refusal(state=State.CANCELLED, changed=ended)
        if State(row.state) not in CLAIMABLE:
            return Refusal(state=State(row.state))
        is_again = row.ended_at is not None
        claimed = _begin_attempt(row, worker, or_now(now), may_wait=at_most_once)
        if claimed is not None:
            if is_again:
                reopen_group(row, now=now)
            return claimed
    return Refusal(state=State.RUNNING, is_superseded=at_most_once)


def _is_of_other_task(row: TaskState, runner: str | None, runner_id: str | None, name: str | None) -> bool:
    if runner is not None and row.runner != runner:
        return True
    return name is not None and row.runner_id != runner_id and row.name != bounded(name, SHORT_BYTES)


def _find(task_id: UUID | str | None, runner: str | None, runner_id: str | None) -> TaskState | None:
    if task_id is not None:
        return find_row({"id": task_id})
    if runner is None or runner_id is None:
        raise ValueError(
            f"claim(runner={runner!r}, runner_id={runner_id!r}) names no task: pass task_id, or both runner and "
            "runner_id."
        )
    return find_row({"runner_id": runner_id, "runner": runner})


def _begin_attempt(row: TaskState, worker: str, instant: float, *, may_wait: bool) -> Claim | None:
    attempt = row.attempt if row.state == State.QUEUED else row.attempt + 1
    columns: dict[str, Any] = dict(NEW_ATTEMPT) if attempt > row.attempt else {"seq": row.seq + 1, **NOT_WAITING}
    columns |= {
        "attempt": attempt,
        "state": State.RUNNING.value,
        "worker": bounded(worker, 128),
        "usual_s": usual_duration_s(row.name),
        "started_at": instant,
        "beat_at": instant,
        "lease_until": instant + conf.settings().lease_s,
    }
    if attempt > row.attempt:
        columns["past_attempts"] = past_attempts(row, next_at=None)
    if row.ended_at is not None:  # An open task has its key already.
        columns["open_key"] = open_key_of(row.name, row.key, row.belongs_to, is_shared=row.is_shared)
    try:
        return _update_if_unchanged(row, columns, may_wait=may_wait)
    except IntegrityError:
        # The task had ended, and another task has taken its key since. The runner decided to run it nevertheless, so
        # it runs without the key.
        return _update_if_unchanged(row, columns | {"key": None, "open_key": None}, may_wait=may_wait)


def take_back(claim: Claim, *, is_ending: bool = False, now: float | None = None) -> tuple[Claim, Changed] | None:
    """Continue a lost attempt whose worker lives; return its new claim and what to publish. None if it isn't lost.

    `lost` is a reader's presumption. The attempt goes on under the next number: no running snapshot of its old number
    supersedes the lost one. None also if that number is taken: a newer attempt fences this one. The notice that the
    task was lost is deleted if no page has shown or holds it; else a second notice says that the task goes on, unless
    `is_ending`, because its end has a notice of its own.
    """
    instant = or_now(now)
    with in_transaction():
        lost = task_rows().filter(pk=claim.id, attempt=claim.attempt, state=State.LOST.value)
        # Locked, because the open key depends on the owner, whom a sign-in may change.
        row = lost.select_for_update().first()
        if row is None or not _reopen(row, instant):
            return None
        # Locked by the UPDATE: the row is as it was written here.
        row.refresh_from_db(using=database())
        notice = revoke_end_notice(row, claim.attempt, instant, is_told=not is_ending)
    snapshot = row.snapshot
    taken_back = replace(
        claim,
        attempt=row.attempt,
        seq=row.seq,
        topics=row.topics,
        snapshot=snapshot,
        cancel_requested=row.cancel_requested,
    )
    group = reopen_group(row, now=instant)
    return taken_back, Changed(snapshot=snapshot, topics=row.topics, notice=notice, group=group)


def _reopen(row: TaskState, instant: float) -> bool:
    lost = task_rows().filter(pk=row.pk, attempt=row.attempt, state=State.LOST.value)
    columns: dict[str, Any] = {
        "attempt": row.attempt + 1,
        "seq": row.seq + 1,
        "state": State.RUNNING.value,
        "past_attempts": past_attempts(row, next_at=instant, is_continued=True),
        "ended_at": None,
        "beat_at": instant,
        "lease_until": instant + conf.settings().lease_s,
        "open_key": open_key_of(row.name, row.key, row.belongs_to, is_shared=row.is_shared),
    }
    try:
        with in_transaction():
            return bool(lost.update(**columns))
    except IntegrityError:
        # Another task has taken its key since, so it goes on without the key.
        return bool(lost.update(**columns | {"key": None, "open_key": None}))


def _update_if_unchanged(row: TaskState, columns: Mapping[str, Any], *, may_wait: bool) -> Claim | None:
    as_read = {name: getattr(row, name) for name in ("id", "attempt", "seq", "state", "cancel_requested", "owner_id")}
    if not (update_row if may_wait else update_row_without_waiting)(as_read, columns):
        return None
    # The condition includes everything that can change, so the new row is known without reading it again.
    for name, value in columns.items():
        setattr(row, name, value)
    return Claim(id=row.pk, attempt=row.attempt, seq=row.seq, topics=row.topics, snapshot=row.snapshot, trace=row.trace)


def set_retrying(
    task_id: UUID | str,
    attempt: int,
    *,
    seq: int = 0,
    progress: Progress | None = None,
    stage_times: Sequence[Any] | None = None,
    label: str | None = None,
    due_at: float | None = None,
    error: str | None = None,
    now: float | None = None,
) -> Changed | None:
    """Record that the attempt failed and its runner will retry it; None if it had ended or a newer one began.

    `progress`, `stage_times`, `label`: the attempt's last; None for the saved ones. If a cancellation was requested,
    the task ends as cancelled instead.
    """
    instant = or_now(now)
    last: dict[str, Any] = {} if progress is None else {"progress": progress.to_json()}
    if stage_times is not None:
        last["stage_times"] = stage_times
    if label is not None:
        last["label"] = bounded(label, SHORT_BYTES)
    with in_transaction():
        running = task_rows().filter(pk=task_id, attempt=attempt, state__in=values_of(sources(State.RETRYING)))
        if running.filter(cancel_requested=False).update(
            state=State.RETRYING.value,
            seq=Greatest(F("seq") + 1, seq),  # Progress may have been published that was never saved.
            due_at=due_at,
            error=None if error is None else bounded(error),
            lease_until=None,  # It waits like a queued task, however long the runner's queue is.
            remaining_s=None,
            remaining_spread=None,
            no_cancel=None,
            beat_at=instant,
            **last,
        ):
            return read_change(task_id)
    if not running.exists():
        return None
    last_values: dict[str, Any] = {"progress": progress, "stage_times": stage_times, "label": label}
    return end(task_id, attempt, State.CANCELLED, seq=seq, now=now, **last_values)
