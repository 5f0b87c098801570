"""Groups: many tasks under one bar, such as a Celery group.

A group's members are ordinary rows without an owner, so they show no bars and create no notices. The group's own row
is run by no process and has no worker to renew a lease: its members have leases, and each read of the group counts
them again.

What a member's end costs does not depend on the group's size. Whether it was the last of its step is found by looking
for one open member in an index. All are counted at each end in a group of up to `COUNTED_MEMBERS`, and for every n-th
member of a larger group: so the bar moves about `COUNTED_MEMBERS` times, and few members write the group's row.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID, uuid5

from django.db import connections
from django.db.models import Count, F, QuerySet
from django.utils.translation import gettext as _

from telltale import conf
from telltale.core.snapshot import SHORT_BYTES, Progress, bounded
from telltale.core.states import State, sources
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.store.calls import call_to_json
from telltale.store.clock import or_now
from telltale.store.columns import NOT_WAITING
from telltale.store.rows import MAX_TRIES, database, in_transaction, read_change, task_rows
from telltale.store.sign_in import owner_now
from telltale.store.values import Changed, Member
from telltale.store.write_end import write_end

COUNTED_MEMBERS: Final = 100
"""A group of up to this many members is counted at each end, a larger one about this many times."""

COUNT_AFTER_S_PER_MEMBER: Final = 0.001
"""A group that was not counted for this long, times its members, is counted at the next end: its members are slow."""


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
    owner, shared = owner_now(owner), {"runner": runner, "created_at": or_now(now)}
    members = [(number, member) for number, step in enumerate(steps) for member in step]
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
            call=call_to_json(member.args, member.kwargs),
            group_id=group_id,
            step=step,
            **shared,
        )
        for member_id, (step, member) in zip(member_ids(group), members, strict=True)
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
    return list(_open_members([group.pk])) if "steps" in group.call else []


def expired_member_ids(groups: Collection[TaskState], instant: float) -> list[UUID]:
    """The ids of the members of these groups whose lease expired before `instant`."""
    expired = _open_members([group.pk for group in groups]).filter(lease_until__lt=instant)
    return list(expired.values_list("pk", flat=True))


def _open_members(group_ids: Collection[UUID]) -> "QuerySet[TaskState]":
    return task_rows().filter(group_id__in=group_ids, ended_at=None)


def start_group(group_id: UUID | str, *, member_id: UUID | None = None, now: float | None = None) -> Changed | None:
    """Mark the group as running, because a member began; None if it was not queued, or this is no member of it."""
    instant = or_now(now)
    queued = task_rows().filter(pk=group_id, state=State.QUEUED.value)
    if not queued.exists():
        return None  # Most members find it running. An UPDATE could lock its row, for which other members would wait.
    if member_id is not None and not task_rows().filter(pk=member_id, group_id=group_id).exists():
        return None
    with in_transaction():
        columns = {"started_at": instant, "moved_at": instant, **NOT_WAITING, **long_lease(instant)}
        if not queued.update(state=State.RUNNING.value, seq=F("seq") + 1, **columns):
            return None
        return read_change(group_id)


def count_end(member: TaskState, *, now: float | None = None) -> Changed | None:
    """Count a member's end, once it is committed; the group's change, or its end with the last member. None: no change.

    None also for a task that is no member, and for most ends in a large group: see the module.
    """
    if member.group_id is None:
        return None
    members, instant = task_rows().filter(group_id=member.group_id), or_now(now)
    is_step_over = not _is_any_open(members.filter(step=member.step))
    if is_step_over and (
        _is_any_bad(members.filter(step=member.step)) or not _is_any_open(members.filter(step__gt=member.step))
    ):
        return recount(member.group_id, now=instant)
    group = task_rows().filter(pk=member.group_id, ended_at=None).first()
    if group is None:
        return None
    size = int(group.progress.get("total") or 0)
    is_due = group.moved_at is None or instant - group.moved_at >= size * COUNT_AFTER_S_PER_MEMBER
    if is_due or member.pk.int % max(1, size // COUNTED_MEMBERS) == 0 or (is_step_over and group.cancel_requested):
        # In a large group, a lost race means that another member has just counted.
        return recount(member.group_id, now=instant, tries=MAX_TRIES if size <= COUNTED_MEMBERS else 1)
    return None


def _is_any_open(members: "QuerySet[TaskState]") -> bool:
    # In the order of the index: for one of many rows, PostgreSQL would rather scan the table, history and all. Ordering
    # by a column that is null keeps MariaDB from using the index.
    order = ("step", "ended_at") if connections[database()].vendor == "postgresql" else ("step",)
    return bool(members.filter(ended_at=None).order_by(*order).values_list("pk", flat=True)[:1])


def _is_any_bad(members: "QuerySet[TaskState]") -> bool:
    """Whether one of a step's members did not succeed; asked once for each step, so all of its members are counted."""
    return any(State(state) is not State.SUCCEEDED for state, _n in members.values_list("state").annotate(Count("pk")))


def recount(group_id: UUID | str, *, now: float | None = None, tries: int = MAX_TRIES) -> Changed | None:
    """Count the group's members and save the count, or the group's end; None if nothing changed.

    A group ends when all members have ended, or with the first step in which a member did not succeed. `tries`: how
    often a race is tried again that another count has won; an end is always decided.
    """
    instant = or_now(now)
    for number in range(MAX_TRIES):
        group = task_rows().filter(pk=group_id, ended_at=None).first()
        if group is None:
            return None
        steps = _count_states(group)
        ended_count = sum(count for step in steps for state, count in step.items() if state.ended)
        progress = _progress(ended_count, sum(group.call["steps"])).to_json()
        if group.state == State.QUEUED and any(set(step) - {State.QUEUED} for step in steps):
            start_group(group.pk, now=instant)
            continue
        end_state, error = _outcome(group, steps)
        if end_state is not None:
            return _end_group(group, end_state, {"error": error, "progress": progress}, instant)
        if ended_count == group.progress.get("current") or number >= tries:
            return None
        unchanged = task_rows().filter(pk=group.pk, seq=group.seq, ended_at=None)
        if unchanged.update(seq=group.seq + 1, progress=progress, moved_at=instant, **long_lease(instant)):
            return read_change(group.pk)
    return None


def _count_states(group: TaskState) -> list[Counter[State]]:
    """How many members of each step are in each state. A member whose row is missing counts as lost."""
    steps = [Counter[State]() for _size in group.call["steps"]]
    counted = task_rows().filter(group_id=group.pk).values_list("step", "state").annotate(Count("pk"))
    for step, state, count in counted.order_by():
        steps[step][State(state)] = count
    for states, size in zip(steps, group.call["steps"], strict=True):
        missing = size - states.total()
        if missing:
            states[State.LOST] += missing
    return steps


def _outcome(group: TaskState, steps: Sequence[Counter[State]]) -> tuple[State | None, str | None]:
    """The group's end state and error by its members' states; (None, None) while it goes on."""
    for states in steps:
        if not all(state.ended for state in states):
            return None, None
        bad_count = states[State.FAILED] + states[State.LOST]
        if group.cancel_requested or (states[State.CANCELLED] and not bad_count):
            return State.CANCELLED, None
        if bad_count:
            size = sum(group.call["steps"])
            return State.FAILED, _("%(bad)s of %(all)s tasks failed.") % {"bad": bad_count, "all": size}
    return State.SUCCEEDED, None


def _end_group(group: TaskState, state: State, fields: Mapping[str, Any], instant: float) -> Changed | None:
    # A group is never a member of another group, so its end changes no other count.
    ended = write_end(
        group.pk,
        state,
        from_states=sources(state),
        condition={"attempt": group.attempt},
        fields=fields,
        ended_at=instant,
    )
    if ended is None:
        return None
    if state is not State.SUCCEEDED:
        # The members of later steps will not begin. If their runner begins one nevertheless, a failed task can be
        # claimed.
        task_rows().filter(group_id=group.pk, state=State.QUEUED.value).update(
            state=State.FAILED.value, ended_at=instant, seq=F("seq") + 1
        )
    row, notice = ended
    return Changed(snapshot=row.snapshot, topics=row.topics, notice=notice)


def _progress(done: int, total: int) -> Progress:
    return Progress(current=done, total=total, fraction=done / total if total else None)


def long_lease(instant: float) -> dict[str, float]:
    """A beat in the future and a lease that long, because no worker renews the lease of a group."""
    until = instant + conf.settings().keep_queued_s
    return {"beat_at": until, "lease_until": until}
