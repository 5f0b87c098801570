"""Ends that a runner sees from outside the task: a child that was killed, a message that was revoked.

Called by runners' signal handlers, usually in another process than the task's own, early, late, twice or
never: the store's conditional write decides, and what had ended stays as it ended.
"""

import logging

from django.db import DatabaseError, close_old_connections

from telltale import conf, store
from telltale.core.states import State
from telltale.messages import announce
from telltale.models import TaskState

logger = logging.getLogger(__name__)


def ended_elsewhere(runner: str, runner_id: str, state: State, *, error: str | None = None, detail: str = "") -> None:
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
