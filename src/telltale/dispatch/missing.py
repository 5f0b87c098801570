"""Whether a waiting task is missing: no worker begins it, although nothing is in the way.

A worker that is killed after it has taken a message, and before it has claimed the task, leaves no trace. Some runners
know that they have no message any more (`KnowsMessages`). Of the others, only the absence of a beginning can tell: a
worker listens, nothing is ahead of the task, and tasks that were queued later have begun, or none is running. A worker
may be busy with tasks that Telltale does not know, so this must last for `UNSTARTED_S`. A worker that begins the task
after all claims it as the next attempt.
"""

from typing import Final

from telltale import conf, store
from telltale.core.states import State
from telltale.dispatch.runner import KnowsMessages, Runner
from telltale.models import TaskState

GONE_S: Final = 60.0
"""How long a task may be without a message: its worker has taken the message and is about to claim the task."""

COMPARED: Final = 100
"""How many of the tasks that ended last are compared with a waiting one, however many there are."""


def has_message(runner: Runner, task: object, row: TaskState) -> bool | None:
    """Whether the runner still has the task's message, or will get it; None if it does not know."""
    if _waits_for_other_members(row):
        return True
    if not isinstance(runner, KnowsMessages) or row.runner_id is None:
        return None
    return runner.has_message(task, row.runner_id)


def _waits_for_other_members(row: TaskState) -> bool:
    """Whether it is of a later step of its group: its message is sent once the members before it have ended."""
    if row.group_id is None or not row.step:
        return False
    return store.task_rows().filter(group_id=row.group_id, step__lt=row.step, ended_at=None).exists()


def is_passed_over(row: TaskState, *, ahead: int | None, is_listening: bool | None) -> bool:
    """Whether a worker could begin the task and does not, as far as the store knows."""
    if ahead != 0 or is_listening is False:
        return False
    rows = store.task_rows().only("runner", "name", "created_at", "started_at")
    running = rows.filter(ended_at=None, state=State.RUNNING.value, runner=row.runner)
    ended = rows.filter(ended_at__isnull=False).order_by("-ended_at")[:COMPARED]
    if any(_has_overtaken(other, row) for others in (running[:COMPARED], ended) for other in others):
        return True
    return is_listening is True and not running.exists()


def _has_overtaken(other: TaskState, row: TaskState) -> bool:
    """Whether `other` was queued after `row` was due to begin, and has begun."""
    due_at = max(row.created_at, row.due_at or 0.0, row.beat_at or 0.0)
    is_later = other.created_at > due_at and (other.started_at or 0.0) > due_at
    return is_later and (other.runner, other.name) == (row.runner, row.name)


def given_up_after_s(*, is_gone: bool) -> float | None:
    """How long a task is missing before it ends as failed; None: it doesn't. `is_gone`: its runner says so."""
    return GONE_S if is_gone else conf.settings().unstarted_s
