"""Groups: many tasks under one bar, such as a Celery group.

A group's members are ordinary rows without an owner, so they show no bars and create no notices. The group's own row
is run by no process and has no worker to renew a lease: its members have leases, and each read of the group counts
them again.
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
from telltale.store.clock import or_now
from telltale.store.columns import NOT_WAITING
from telltale.store.rows import MAX_TRIES, in_transaction, read_change, task_rows
from telltale.store.values import Changed, Member
from telltale.store.write_end import write_end


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
    """Create the queued rows of a group and its members; all members of a step end before the next step begins."""
    shared: dict[str, Any] = {"runner": runner, "created_at": or_now(now)}
    members = [member for step in steps for member in step]
    group = TaskState(
        id=group_id,
        name=bounded(name, SHORT_BYTES),
        label=bounded(label, SHORT_BYTES),
        call={"args": None, "kwargs": {}, "steps": [len(step) for step in steps]},
        owner_id=owner.user_id,
        session=owner.session,
        progress=_progress(0, len(members)).to_json(),
        **shared,
    )
    member_rows = [
        TaskState(
            id=member_id,
            runner_id=member.runner_id,
            name=bounded(member.name, SHORT_BYTES),
            label=bounded(member.label, SHORT_BYTES),
            call={
                "args": None if member.args is None else list(member.args),
                "kwargs": dict(member.kwargs),
                "group": str(group_id),
            },
            **shared,
        )
        for member_id, member in zip(member_ids(group), members, strict=True)
    ]
    task_rows().bulk_create([group, *member_rows])
    return group


def member_ids(group: TaskState) -> list[UUID]:
    """The ids of the group's members, in order; empty for other tasks.

    They are derived from the group's id, so that its row need not hold them.
    """
    return [uuid5(group.pk, str(number)) for number in range(sum(group.call.get("steps", ())))]


def open_members(group: TaskState) -> list[TaskState]:
    """The group's members that have not ended; empty for other tasks."""
    ids = member_ids(group)
    return list(task_rows().filter(pk__in=ids, ended_at=None)) if ids else []


def start_group(group_id: UUID | str, *, now: float | None = None) -> Changed | None:
    """Mark the group as running, because a member began; None if it was not queued."""
    instant = or_now(now)
    with in_transaction():
        queued = task_rows().filter(pk=group_id, state=State.QUEUED.value)
        columns = {"started_at": instant, "moved_at": instant, **NOT_WAITING, **_long_lease(instant)}
        if not queued.update(state=State.RUNNING.value, seq=F("seq") + 1, **columns):
            return None
        return read_change(group_id)


def recount(group_id: UUID | str, *, now: float | None = None) -> Changed | None:
    """Count the group's members and save the count, or the group's end; None if nothing changed.

    A group ends when all members have ended, or with the first step in which a member did not succeed.
    """
    instant = or_now(now)
    for _try in range(MAX_TRIES):
        group = task_rows().filter(pk=group_id, ended_at=None).first()
        if group is None:
            return None
        ids = member_ids(group)
        known_states = dict(task_rows().filter(pk__in=ids).values_list("pk", "state"))
        states = [State(known_states.get(pk, State.LOST)) for pk in ids]
        ended_count = sum(state.ended for state in states)
        progress = _progress(ended_count, len(states)).to_json()
        if group.state == State.QUEUED and any(state is not State.QUEUED for state in states):
            start_group(group.pk, now=instant)
            continue
        end_state, error = _outcome(group, states)
        if end_state is not None:
            return _end_group(group, end_state, {"error": error, "progress": progress}, instant)
        if ended_count == group.progress.get("current"):
            return None
        unchanged = task_rows().filter(pk=group.pk, seq=group.seq, ended_at=None)
        if unchanged.update(seq=group.seq + 1, progress=progress, moved_at=instant, **_long_lease(instant)):
            return read_change(group.pk)
    return None


def _outcome(group: TaskState, states: Sequence[State]) -> tuple[State | None, str | None]:
    """The group's end state and error by its members' states; (None, None) while it goes on."""
    start = 0
    for size in group.call["steps"]:
        step, start = states[start : start + size], start + size
        if not all(state.ended for state in step):
            return None, None
        bad_count = sum(state in {State.FAILED, State.LOST} for state in step)
        if group.cancel_requested or (State.CANCELLED in step and not bad_count):
            return State.CANCELLED, None
        if bad_count:
            return State.FAILED, _("%(bad)s of %(all)s tasks failed.") % {"bad": bad_count, "all": len(states)}
    return State.SUCCEEDED, None


def _end_group(group: TaskState, state: State, fields: Mapping[str, Any], instant: float) -> Changed | None:
    # A group is never a member of another group, so its end changes no other count.
    ended = write_end(
        group.pk,
        state,
        from_states=sources(state),
        condition=Q(attempt=group.attempt),
        fields=fields,
        ended_at=instant,
    )
    if ended is None:
        return None
    if state is not State.SUCCEEDED:
        # The members of later steps will not begin. If their runner begins one nevertheless, a failed task can be
        # claimed.
        task_rows().filter(pk__in=member_ids(group), state=State.QUEUED.value).update(
            state=State.FAILED.value, ended_at=instant, seq=F("seq") + 1
        )
    row, notice = ended
    return Changed(snapshot=row.snapshot, topics=row.topics, notice=notice)


def _progress(done: int, total: int) -> Progress:
    return Progress(current=done, total=total, fraction=done / total if total else None)


def _long_lease(instant: float) -> dict[str, float]:
    """A beat in the future and a lease that long, because no worker renews the lease of a group."""
    until = instant + conf.settings().keep_queued_s
    return {"beat_at": until, "lease_until": until}
