"""A Celery group, chord or chain shown as one task: "7 of 20", with one owner, one end, one notice.

Each member has its own row, which is claimed, leased and ended like any task's. A member has no owner, so it has no
progress bar. The group's row counts its members (`store.recount`). All rows are written before anything is published;
each signature carries the id of its row. Called by sites.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final
from uuid import uuid4

from celery import Signature, chord, group
from celery.canvas import _chain as chain  # `celery.chain` is a factory; this is the class of its results
from celery.utils import uuid
from django.db import transaction

from telltale import conf, store
from telltale.core.states import State
from telltale.core.wire import Envelope
from telltale.dispatch.rows import storable_arguments
from telltale.dispatch.runner import EnqueueFailed
from telltale.dispatch.task_header import HEADER, TaskHeader
from telltale.messages import announce
from telltale.models import TaskState
from telltale.owners import CURRENT_OWNER, Owner, owned_by, resolve_owner
from telltale.runners.celery import options_of_task

Steps = Sequence[Sequence[Signature]]
"""The signatures of a canvas by step: all of a step end before the next step starts."""

GROUP_SUFFIX: Final = ":together"
"""Ends the name of a group's row, because a group is not a task in Celery's registry."""


def enqueue_canvas(canvas: Signature, /, *, label: object = None, owner: Any = CURRENT_OWNER) -> TaskState:
    """Queue a group, a chord or a chain of tracked tasks as one task; returns its row.

    `label`: its name for people; by default the first member's label. `owner`: as in `telltale.enqueue`. It ends when
    all members have ended, or with the first step of which a member failed. Cancelling it cancels its members. It
    can't be retried. Raises `TypeError` if a member is not tracked, or is itself a group, chord or chain. Raises
    `EnqueueFailed` as `telltale.enqueue` does.
    """
    steps, group_owner, group_id = _steps(canvas), resolve_owner(owner), uuid4()
    members = [[_member(signature) for signature in step] for step in steps]
    first = members[0][0]
    row = store.queue_group(
        members,
        group_id=group_id,
        runner="celery",
        name=f"{first.name}{GROUP_SUFFIX}",
        label=str(label or first.label),
        owner=group_owner,
    )
    announce([Envelope(topics=row.topics, snapshot=row.snapshot)])
    canvas_with_headers = _replace_steps(canvas, _add_headers(steps, members, row, group_owner))
    transaction.on_commit(partial(_publish, canvas_with_headers, row, group_owner), using=conf.settings().database)
    return row


def _steps(canvas: Signature) -> Steps:
    if isinstance(canvas, chord):
        steps: Steps = [_header_tasks(canvas.tasks), [canvas.body]]
    elif isinstance(canvas, group):
        steps = [_header_tasks(canvas.tasks)]
    elif isinstance(canvas, chain):
        steps = [[signature] for signature in canvas.tasks]
    else:
        raise TypeError(f"{canvas!r:.80} is no group, chord or chain: enqueue it with telltale.enqueue.")
    if not all(steps):
        raise TypeError(f"{canvas!r:.80} is empty, so it would never end.")
    return steps


def _header_tasks(tasks: Any) -> Sequence[Signature]:
    # Celery keeps a chord's header as a group or as a list.
    return list(tasks.tasks if isinstance(tasks, group) else tasks)


def _member(signature: Signature) -> store.Member:
    options = None if isinstance(signature, chord | group | chain) else options_of_task(signature.type)
    if options is None:
        raise TypeError(
            f"{signature!r:.80} is not tracked, so its end would never be known: put @telltale.tracked beneath "
            "its task's decorator, and make the canvas of plain tasks."
        )
    args, kwargs = storable_arguments(signature.args, signature.kwargs)
    return store.Member(
        runner_id=uuid(),
        name=str(signature.task),
        label=options.label_for(str(signature.task)),
        args=args,
        kwargs=kwargs or {},
    )


def _add_headers(steps: Steps, members: Sequence[Sequence[store.Member]], row: TaskState, owner: Owner) -> Steps:
    """Copies of the signatures, each with its message's id and with a header that names its row."""
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


def _replace_steps(canvas: Signature, steps: Steps) -> Signature:
    """A canvas like `canvas`, of the signatures in `steps`."""
    if isinstance(canvas, chord):
        return chord(group(steps[0]), steps[1][0]).set(**canvas.options)
    if isinstance(canvas, group):
        return group(steps[0]).set(**canvas.options)
    return chain(*(step[0] for step in steps)).set(**canvas.options)


def _publish(canvas: Signature, row: TaskState, owner: Owner) -> None:
    try:
        with owned_by(owner):
            canvas.apply_async()
    except BaseException as error:
        current = store.task_rows().filter(pk=row.pk).first()
        if current is not None and current.state != State.QUEUED:
            raise  # The error is a member's own: an eager mode has run it within `apply_async`.
        for pk in [row.pk, *store.member_ids(row)]:
            store.delete_queued(pk)
        raise EnqueueFailed(f"celery could not take {row.name}, so nothing was queued: {error!r}") from error
