"""A Celery group, chord or chain under one bar: "7 of 20", one owner, one end, one message.

Each member has a row of its own, which is claimed, leased and ended as any task's. It has no owner, so it shows no
bar. The group's row counts its members (`store.recount`). All rows are made before anything is published; which
row a member is travels in its signature. Called by sites; knows Celery's canvas and the store.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import uuid4

from celery import Signature, chord, group
from celery.canvas import _chain as chain  # what `celery.chain` makes
from celery.utils import uuid
from django.db import transaction

from telltale import conf, store
from telltale.core.states import State
from telltale.core.wire import Envelope
from telltale.dispatch.rows import storable_arguments
from telltale.dispatch.runner import EnqueueFailed, options_of
from telltale.dispatch.task_header import HEADER, TaskHeader
from telltale.messages import announce
from telltale.models import TaskState
from telltale.owners import CURRENT_OWNER, Owner, owned_by, resolve_owner

Steps = Sequence[Sequence[Signature]]
"""What a canvas runs: all of a step end before the next one begins."""

TOGETHER = ":together"
"""The suffix of a group's name: a group is no task of Celery's registry."""


def enqueue_together(canvas: Signature, /, *, label: object = None, owner: Any = CURRENT_OWNER) -> TaskState:
    """Queue a group, a chord or a chain of tracked tasks as one; returns its row.

    `label`: what people read; by default the first member's. `owner`: as in `telltale.enqueue`. It ends when
    all members have, or with the first step of which a member failed. Cancelling it cancels its members.
    It can't be run again from its page. Raises `TypeError` for members that are not tracked or not plain
    tasks, and `EnqueueFailed`, as `telltale.enqueue` does.
    """
    steps, whose, group_id = _steps(canvas), resolve_owner(owner), uuid4()
    members = [[_member(signature) for signature in step] for step in steps]
    first = members[0][0]
    row = store.queue_group(
        members,
        group_id=group_id,
        runner="celery",
        name=f"{first.name}{TOGETHER}",
        label=str(label or first.label),
        owner=whose,
    )
    announce([Envelope(topics=row.topics, snapshot=row.snapshot)])
    marked = _rebuilt(canvas, _marked(steps, members, row, whose))
    transaction.on_commit(partial(_hand_over, marked, row, whose), using=conf.settings().database)
    return row


def _steps(canvas: Signature) -> Steps:
    if isinstance(canvas, chord):
        steps: Steps = [_members(canvas.tasks), [canvas.body]]
    elif isinstance(canvas, group):
        steps = [_members(canvas.tasks)]
    elif isinstance(canvas, chain):
        steps = [[link] for link in canvas.tasks]
    else:
        raise TypeError(f"{canvas!r:.80} is no group, chord or chain: enqueue it with telltale.enqueue.")
    if not all(steps):
        raise TypeError(f"{canvas!r:.80} is empty, so it would never end.")
    return steps


def _members(tasks: Any) -> Sequence[Signature]:
    # A chord's header may be a group that was not taken apart yet.
    return list(tasks.tasks if isinstance(tasks, group) else tasks)


def _member(signature: Signature) -> store.Member:
    options = None if isinstance(signature, chord | group | chain) else _mark(signature)
    if options is None:
        raise TypeError(
            f"{signature!r:.80} is not tracked, so nobody would know when it has ended: put @telltale.tracked beneath "
            "its task's decorator, and make the canvas of plain tasks."
        )
    args, kwargs = storable_arguments(signature.args, signature.kwargs)
    return store.Member(
        runner_id=uuid(), name=str(signature.task), label=str(options.label), args=args, kwargs=kwargs or {}
    )


def _mark(signature: Signature) -> Any:
    task = signature.type
    return options_of(getattr(task, "_orig_run", None)) or options_of(task.run)


def _marked(steps: Steps, members: Sequence[Sequence[store.Member]], row: TaskState, owner: Owner) -> Steps:
    """The signatures, each with its row's and its message's id."""
    ids = iter(store.member_ids(row))
    return [
        [
            signature.clone().set(
                task_id=member.runner_id,
                headers={HEADER: TaskHeader(task_id=next(ids), owner=owner, group=row.pk).to_json()},
            )
            for signature, member in zip(step, step_members, strict=True)
        ]
        for step, step_members in zip(steps, members, strict=True)
    ]


def _rebuilt(canvas: Signature, steps: Steps) -> Signature:
    """The same canvas of other members."""
    if isinstance(canvas, chord):
        return chord(group(steps[0]), steps[1][0]).set(**canvas.options)
    if isinstance(canvas, group):
        return group(steps[0]).set(**canvas.options)
    return chain(*(step[0] for step in steps)).set(**canvas.options)


def _hand_over(canvas: Signature, row: TaskState, owner: Owner) -> None:
    try:
        with owned_by(owner):
            canvas.apply_async()
    except BaseException as error:
        fresh = store.task_rows().filter(pk=row.pk).first()
        if fresh is not None and fresh.state != State.QUEUED:
            raise  # Some have begun: an eager mode runs them on the spot.
        for pk in [row.pk, *store.member_ids(row)]:
            store.delete_queued(pk)
        raise EnqueueFailed(f"celery could not take {row.name}, so nothing was queued: {error!r}") from error
