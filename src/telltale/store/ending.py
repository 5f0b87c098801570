"""Every way to an end: by its worker, by a person who cancels, by a lease that lapsed.

Says what each may end, and from which states; the race itself is `closing`'s. Knows no scheduler: whoever reads says
what is lost. Called by `worker`, `web`, `runners` and the admin, and by the store's own `queueing`, `running`,
`reading` and `pruning`.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from django.db.models import F, Q
from django.db.models.functions import Greatest

from telltale.core.snapshot import SHORT_BYTES, TEXT_BYTES, Progress, bounded
from telltale.core.states import State, sources
from telltale.models import TaskState
from telltale.store.clock import instant
from telltale.store.closing import close
from telltale.store.groups import recount
from telltale.store.rows import change_of, ids_among, in_transaction, is_id, task_rows
from telltale.store.values import Changed

logger = logging.getLogger(__name__)

DETAIL_BYTES: Final = 65_536


def end(
    task_id: UUID | str,
    attempt: int,
    state: State,
    *,
    seq: int | None = None,
    progress: Progress | None = None,
    error: str | None = None,
    detail: str = "",
    reference: str | None = None,
    result: str | None = None,
    label: str | None = None,
    is_owned: bool = True,
    now: float | None = None,
) -> Changed | None:
    """End an attempt, once: None if it had ended, or a newer attempt owns the task. Then publish nothing.

    The owner's notice is written in the same transaction; `is_owned=False` says that there is none to write,
    and spares the transaction. `error`: words for people; `detail`: for staff.
    """
    fields: dict[str, Any] = {
        "error": None if error is None else bounded(error),
        "detail": bounded(detail, DETAIL_BYTES),
        "reference": reference,
    }
    if seq is not None:
        fields["seq"] = Greatest(F("seq") + 1, seq)
    if progress is not None:
        fields["progress"] = progress.to_json()
    if result is not None:
        fields["result"] = _link(result)
    if label is not None:
        fields["label"] = bounded(label, SHORT_BYTES)
    return end_if(task_id, Q(attempt=attempt), state, sources(state), fields, instant(now), is_owned=is_owned)


def _link(result: str) -> str | None:
    if bounded(result) == result:
        return result
    # Half a link leads nowhere.
    logger.warning("A result's link is left out, for it has more than %d bytes: %.80s…", TEXT_BYTES, result)
    return None


def request_cancel(task_id: UUID | str, *, now: float | None = None) -> Changed | None:
    """Ask for a task's end; None if it has ended or is unknown. Harmless when repeated.

    What has not begun ends here and now; what runs is asked to, and its worker hears of it at its next save.
    """
    if not is_id(task_id):
        return None
    waiting = sources(State.CANCELLED) - {State.RUNNING}
    ended = end_if(task_id, Q(), State.CANCELLED, waiting, {"cancel_requested": True}, instant(now))
    if ended is not None:
        return ended
    with in_transaction():
        running = task_rows().filter(pk=task_id, state=State.RUNNING.value)
        running.filter(cancel_requested=False).update(cancel_requested=True, seq=F("seq") + 1)
        changed = change_of(task_id)
    # It may have been queued again between the two: then the next click finds it so.
    return changed if changed and changed.snapshot.state is State.RUNNING else None


def is_cancel_requested(task_id: UUID | str) -> bool:
    """Whether somebody has asked for its end."""
    return task_rows().filter(pk=task_id, cancel_requested=True).exists()


def expire(ids: Iterable[UUID | str] | None = None, *, now: float | None = None) -> list[Changed]:
    """Say of tasks whose lease has lapsed that they are lost; of these only, or of all.

    Every read calls this, by `reading`, so no scheduler is needed. The condition is part of the UPDATE: a worker that
    renews in between keeps its task.
    """
    at = instant(now)
    lapsed = task_rows().filter(ended_at=None, lease_until__lt=at)
    if ids is not None:
        lapsed = lapsed.filter(pk__in=ids_among(ids))
    ended = [
        end_if(pk, Q(attempt=attempt, lease_until__lt=at), State.LOST, sources(State.LOST), {}, at)
        for pk, attempt in lapsed.values_list("pk", "attempt")
    ]
    return [changed for changed in ended if changed is not None]


def has_lapsed(row: TaskState, at: float) -> bool:
    return row.ended_at is None and row.lease_until is not None and row.lease_until < at


def end_if(
    task_id: UUID | str,
    only: Q,
    state: State,
    olds: frozenset[State],
    fields: Mapping[str, Any],
    at: float,
    *,
    is_owned: bool = True,
) -> Changed | None:
    """End it if it is in one of `olds` and what `only` asks for, and count the parts of its whole anew."""
    ended = close(task_id, only, state, olds, fields, at, is_owned=is_owned)
    if ended is None:
        return None
    row, notice = ended
    # After its own end is committed: of two last parts that end at once, at least one must see both.
    group = recount(row.call["group"], now=at) if "group" in row.call else None
    return Changed(snapshot=row.snapshot, topics=row.topics, notice=notice, group=group)
