"""The queued row of a call that its runner makes by itself (`.delay`, `.enqueue`, an eager mode).

Called by the runners' hooks and by `tracked`. The row is written at once, on the caller's connection:
the runner's message may be on its way already. `enqueue.py` does the same for `telltale.enqueue`.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import DatabaseError, IntegrityError, close_old_connections

from telltale import conf, store
from telltale.core.states import State
from telltale.core.wire import Envelope
from telltale.dispatch.runner import Call
from telltale.messages import announce
from telltale.models import TaskState
from telltale.owners import Owner, present_owner

logger = logging.getLogger(__name__)


def create_queued_row(call: Call, *, owner: Owner | None = None) -> UUID:
    """Write the row and tell its followers; returns its id. Raises `IntegrityError` if it exists.

    `owner`: None stands for the call's, or else for whoever is present.
    """
    args, kwargs = storable_arguments(call.args, call.kwargs or {})
    queued = store.queue(
        runner=call.runner,
        runner_id=call.runner_id,
        name=call.name,
        label=str(call.options.label) if call.options else "",
        task_id=call.task_id,
        args=args,
        kwargs=kwargs,
        owner=owner or call.owner or present_owner(),
        due_at=call.due_at,
    )
    announce([Envelope(topics=queued.task.topics, snapshot=queued.task.snapshot)])
    pk: UUID = queued.task.pk
    return pk


def create_row_unless_there(call: Call) -> None:
    """Write the row of a message that is out; a worker may have been quicker, and have written it."""
    try:
        create_queued_row(call)
    except IntegrityError:
        logger.debug("A worker was quicker to make the row of %s %s.", call.runner, call.runner_id)


def storable_arguments(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any] | None, Mapping[str, Any] | None]:
    """The call as JSON can hold it; (None, None) if it can't: then a person can't run it again from here."""
    try:
        json.dumps([list(args), dict(kwargs)], allow_nan=False)
    except (TypeError, ValueError):
        return None, None
    return list(args), dict(kwargs)


def end_from_outside(runner: str, runner_id: str, state: State, *, error: str | None = None, detail: str = "") -> None:
    """End the present attempt of the runner's call, if it is open. Never raises.

    `error`: words for people; `detail`: for staff.
    """
    try:
        close_old_connections()
        rows = TaskState.objects.using(conf.settings().database).filter(runner=runner, runner_id=runner_id)
        row = rows.filter(ended_at=None).first()
        if row is None:
            return
        if row.cancel_requested:
            state = State.CANCELLED  # what was wanted outranks the failure that it caused
        elif row.state == State.QUEUED and state is State.LOST:
            state = State.FAILED  # killed before its first line: nothing had begun that could be lost
        changed = store.end(row.pk, row.attempt, state, error=error, detail=detail)
        if changed is not None:
            announce(changed.envelopes)
    except DatabaseError as trouble:
        # The lease ends it if this process can't.
        logger.warning("The end (%s) of %s %s can't be written: %s", state, runner, runner_id, trouble)
