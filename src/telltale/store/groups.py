"""Wholes: many tasks under one bar.

Their parts are ordinary rows that nobody owns, so they show no bars and tell nobody. A whole is run by no
process and has no lease to renew: its parts have theirs, and whoever reads it counts them anew.

Knows the states of parts, not what runs them. Called by `runners` that have groups, and by the store's own `ending`
and `reading`.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

from django.db.models import F, Q
from django.utils.translation import gettext as _

from telltale import conf
from telltale.core.snapshot import SHORT_BYTES, Progress, bounded
from telltale.core.states import State, sources
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.store.clock import instant
from telltale.store.closing import close
from telltale.store.columns import BEGUN
from telltale.store.rows import TRIES, change_of, in_transaction, task_rows
from telltale.store.values import Changed, Member


def queue_group(
    steps: Sequence[Sequence[Member]],
    *,
    group_id: UUID,
    runner: str,
    name: str,
    label: str,
    owner: Owner,
    now: float | None = None,
) -> TaskState:
    """Make the queued rows of a whole and of its parts; all of a step end before the next one begins."""
    same: dict[str, Any] = {"runner": runner, "created_at": instant(now)}
    whole = TaskState(
        id=group_id,
        name=bounded(name, SHORT_BYTES),
        label=bounded(label, SHORT_BYTES),
        call={"args": None, "kwargs": {}, "steps": [len(step) for step in steps]},
        owner_id=owner.user_id,
        session=owner.session,
        progress=_share(0, sum(map(len, steps))).to_json(),
        **same,
    )
    parts = [
        TaskState(
            id=pk,
            runner_id=part.runner_id,
            name=bounded(part.name, SHORT_BYTES),
            label=bounded(part.label, SHORT_BYTES),
            call={
                "args": None if part.args is None else list(part.args),
                "kwargs": dict(part.kwargs),
                "group": str(group_id),
            },
            **same,
        )
        for pk, part in zip(member_ids(whole), (part for step in steps for part in step), strict=True)
    ]
    task_rows().bulk_create([whole, *parts])
    return whole


def member_ids(whole: TaskState) -> list[UUID]:
    """Of its parts, in their order: worked out from its own, so that no row has to hold them. Empty for a part."""
    return [uuid5(whole.pk, str(number)) for number in range(sum(whole.call.get("steps", ())))]


def open_members(whole: TaskState) -> list[TaskState]:
    """Its parts that have not ended; none if it is no whole."""
    ids = member_ids(whole)
    return list(task_rows().filter(pk__in=ids, ended_at=None)) if ids else []


def start_group(group_id: UUID | str, *, now: float | None = None) -> Changed | None:
    """Its first part begins; None if one had begun before."""
    at = instant(now)
    with in_transaction():
        queued = task_rows().filter(pk=group_id, state=State.QUEUED.value)
        fields = {"started_at": at, "moved_at": at, **BEGUN, **_kept_alive(at)}
        if not queued.update(state=State.RUNNING.value, seq=F("seq") + 1, **fields):
            return None
        return change_of(group_id)


def recount(group_id: UUID | str, *, now: float | None = None) -> Changed | None:
    """Count its parts anew; None if that changes nothing. With the first step that went badly it has ended."""
    at = instant(now)
    for _try in range(TRIES):
        row = task_rows().filter(pk=group_id, ended_at=None).first()
        if row is None:
            return None
        known = dict(task_rows().filter(pk__in=member_ids(row)).values_list("pk", "state"))
        states = [State(known.get(pk, State.LOST)) for pk in member_ids(row)]
        done = sum(state.ended for state in states)
        progress = _share(done, len(states))
        if row.state == State.QUEUED and any(state is not State.QUEUED for state in states):
            start_group(row.pk, now=at)
            continue
        end_state, words = _end_of(row, states)
        if end_state is not None:
            return _end_whole(row, end_state, {"error": words, "progress": progress.to_json()}, at)
        if done == row.progress.get("current"):
            return None
        as_found = task_rows().filter(pk=row.pk, seq=row.seq, ended_at=None)
        if as_found.update(seq=row.seq + 1, progress=progress.to_json(), moved_at=at, **_kept_alive(at)):
            return change_of(row.pk)
    return None


def _end_of(row: TaskState, states: Sequence[State]) -> tuple[State | None, str | None]:
    first = 0
    for size in row.call["steps"]:
        step, first = states[first : first + size], first + size
        if not all(state.ended for state in step):
            return None, None
        bad = sum(state in {State.FAILED, State.LOST} for state in step)
        if row.cancel_requested or (State.CANCELLED in step and not bad):
            return State.CANCELLED, None
        if bad:
            return State.FAILED, _("%(bad)s of %(all)s tasks failed.") % {"bad": bad, "all": len(states)}
    return State.SUCCEEDED, None


def _end_whole(row: TaskState, state: State, fields: Mapping[str, Any], at: float) -> Changed | None:
    # No whole is a part of another: nobody counts anew for its end.
    closed = close(row.pk, Q(attempt=row.attempt), state, sources(state), fields, at)
    if closed is None:
        return None
    if state is not State.SUCCEEDED:
        # Of the steps that were to follow. Should their runner begin them yet: what failed may be claimed.
        task_rows().filter(pk__in=member_ids(row), state=State.QUEUED.value).update(
            state=State.FAILED.value, ended_at=at, seq=F("seq") + 1
        )
    ended, notice = closed
    return Changed(snapshot=ended.snapshot, topics=ended.topics, notice=notice)


def _share(done: int, of: int) -> Progress:
    return Progress(current=done, total=of, fraction=done / of if of else None)


def _kept_alive(at: float) -> dict[str, float]:
    until = at + conf.settings().keep_queued_s
    return {"beat_at": until, "lease_until": until}
