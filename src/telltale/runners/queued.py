"""The queued row of a call that its runner makes by itself (`.delay`, `.enqueue`, an eager mode).

Called by the runners' hooks and by `tracked`. The row is written at once, on the caller's connection:
the runner's message may be on its way already. `enqueue.py` does the same for `telltale.enqueue`.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import IntegrityError

from telltale import store
from telltale.core.wire import Envelope
from telltale.messages import announce
from telltale.owners import Owner, present_owner
from telltale.runners.base import Call

logger = logging.getLogger(__name__)


def queue_call(call: Call, *, owner: Owner | None = None) -> UUID:
    """Write the row and tell its followers; returns its id. Raises `IntegrityError` if it exists.

    `owner`: None stands for the call's, or else for whoever is present.
    """
    args, kwargs = storable(call.args, call.kwargs or {})
    queued = store.queue(
        runner=call.runner,
        runner_id=call.runner_id,
        name=call.name,
        label=str(call.mark.label) if call.mark else "",
        task_id=call.task_id,
        args=args,
        kwargs=kwargs,
        owner=owner or call.owner or present_owner(),
        due_at=call.due_at,
    )
    announce([Envelope(topics=queued.task.topics, snapshot=queued.task.snapshot)])
    pk: UUID = queued.task.pk
    return pk


def queue_published(call: Call) -> None:
    """Write the row of a message that is out; a worker may have been quicker, and have written it."""
    try:
        queue_call(call)
    except IntegrityError:
        logger.debug("A worker was quicker to make the row of %s %s.", call.runner, call.runner_id)


def storable(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any] | None, Mapping[str, Any] | None]:
    """The call as JSON can hold it; (None, None) if it can't: then a person can't run it again from here."""
    try:
        json.dumps([list(args), dict(kwargs)], allow_nan=False)
    except (TypeError, ValueError):
        return None, None
    return list(args), dict(kwargs)
