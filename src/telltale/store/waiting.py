"""What its runner says of a task that waits: its id, when it is due, why it does not begin, that it never will.

Each change is conditional on the wait: a claim that was quicker makes it none. Must not know how a runner finds these
things out. Called by `runners`.
"""

from uuid import UUID

from django.db.models import F, Q

from telltale.core.states import State
from telltale.models import TaskState
from telltale.store.clock import now
from telltale.store.rows import change_of, equals, in_transaction, task_rows
from telltale.store.values import Changed


def adopt(task_id: UUID | str, runner_id: str) -> None:
    """The runner's id became known. Harmless when repeated."""
    task_rows().filter(~Q(runner_id=runner_id), pk=task_id).update(runner_id=runner_id)


def put_off(task_id: UUID | str, due_at: float | None) -> Changed | None:
    """The runner said when a task that waits is due; None if it does not wait, or was known to be due then."""
    with in_transaction():
        waiting = task_rows().filter(pk=task_id, state__in=[State.QUEUED.value, State.RETRYING.value])
        if not waiting.exclude(equals("due_at", due_at)).update(due_at=due_at, seq=F("seq") + 1):
            return None
        return change_of(task_id)


def waits(task_id: UUID | str, *, ahead: int | None, is_listening: bool | None) -> Changed | None:
    """Why it waits; None if it does not, or that was known. Each None is what nobody can tell."""
    with in_transaction():
        waiting = task_rows().filter(pk=task_id, state=State.QUEUED.value)
        same = equals("ahead", ahead) & equals("is_listening", is_listening)
        if not waiting.exclude(same).update(ahead=ahead, is_listening=is_listening, seq=F("seq") + 1):
            return None
        return change_of(task_id)


def count_before(row: TaskState) -> int:
    """How many tasks of the same runner wait that were asked for before it, and are due."""
    earlier = task_rows().filter(runner=row.runner, state=State.QUEUED.value, created_at__lt=row.created_at)
    return earlier.filter(Q(due_at=None) | Q(due_at__lte=now())).count()


def abandon(task_id: UUID | str) -> None:
    """The runner could not take it: no row is left that says "queued". One that has begun stays."""
    task_rows().filter(pk=task_id, attempt=1, state=State.QUEUED.value).delete()
