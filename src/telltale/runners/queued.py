"""The queued row of a call that its runner makes by itself (`.delay`, `.enqueue`, an eager mode).

Called by the runners' hooks and by `tracked`. The row is written at once, on the caller's connection:
the runner's message may be on its way already. `enqueue.py` does the same for `telltale.enqueue`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from telltale import store
from telltale.core.wire import Envelope
from telltale.messages import announce
from telltale.owners import Owner
from telltale.runners.base import Call


def queue_call(call: Call, *, label: str, owner: Owner) -> UUID:
    """Write the row and tell its followers; returns its id. Raises `IntegrityError` if it exists."""
    args, kwargs = storable(call.args, call.kwargs or {})
    queued = store.queue(
        runner=call.runner,
        runner_id=call.runner_id,
        name=call.name,
        label=label,
        task_id=call.task_id,
        args=args,
        kwargs=kwargs,
        owner=owner,
    )
    announce([Envelope(topics=queued.task.topics, snapshot=queued.task.snapshot)])
    pk: UUID = queued.task.pk
    return pk


def storable(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Sequence[Any] | None, Mapping[str, Any] | None]:
    """The call as JSON can hold it; (None, None) if it can't: then a person can't run it again from here."""
    try:
        json.dumps([list(args), dict(kwargs)], allow_nan=False)
    except (TypeError, ValueError):
        return None, None
    return list(args), dict(kwargs)
