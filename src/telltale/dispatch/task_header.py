"""What travels with a task, where its runner has room for it: which row it is, and whose.

So a worker that is quicker than the asker, or an asker whose transaction is still open, costs nothing:
whoever comes first makes the row. Used by the runners' own files; knows none of them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final, Self
from uuid import UUID, uuid4

from telltale.owners import Owner, present_owner

HEADER: Final = "telltale"
"""The name under which it travels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHeader:
    """A task's birth certificate."""

    task_id: UUID
    owner: Owner
    runner_id: str | None = None
    """The id to be given to the runner, where it lets us choose. It travels by the runner's own means."""
    is_fresh: bool = False
    """Nobody has made the row: the publisher is to, once the message is out."""
    whole: UUID | None = None
    """Of which task it is a part."""

    def to_json(self) -> dict[str, Any]:
        """As every serialiser takes it; a primary key that is no number is read back from its text."""
        user_id = self.owner.user_id
        portable = user_id if isinstance(user_id, int | None) else str(user_id)
        data = {"task": str(self.task_id), "owner": [portable, self.owner.session], "fresh": self.is_fresh}
        return data | ({"whole": str(self.whole)} if self.whole is not None else {})

    @classmethod
    def from_json(cls, data: object) -> Self | None:
        """The reverse; None for anything else, such as a message from before Telltale was there."""
        if not isinstance(data, Mapping) or "task" not in data:
            return None
        user_id, session = data.get("owner") or (None, "")
        owner = Owner(user_id=user_id, session=session)
        whole = UUID(data["whole"]) if data.get("whole") else None
        return cls(task_id=UUID(data["task"]), owner=owner, is_fresh=bool(data.get("fresh")), whole=whole)


_handed: ContextVar[tuple[TaskHeader, ...]] = ContextVar("telltale_handed", default=())


@contextmanager
def sending(*task_ids: UUID, runner_id: str | None = None) -> Iterator[None]:
    """Within it the runner's own hook is called for these rows, and is to make no second ones."""
    owner = present_owner()
    rows = tuple(TaskHeader(task_id=task_id, owner=owner, runner_id=runner_id) for task_id in task_ids)
    token = _handed.set(rows)
    try:
        yield
    finally:
        _handed.reset(token)


def current_header() -> TaskHeader | None:
    """The one row that is being current_header over, if any is; see `current_headers`."""
    rows = current_headers()
    return rows[0] if rows else None


def current_headers() -> tuple[TaskHeader, ...]:
    """What is being current_header over; taken off, for what runs on the spot may enqueue tasks of its own."""
    rows = _handed.get()
    _handed.set(())
    return rows


def new_header(parent: TaskHeader | None = None) -> TaskHeader:
    """For a message that a runner's own call publishes; `parent`: of the task that publishes it, if one does."""
    carried = current_header()
    if carried is not None:
        return carried
    owner = present_owner()
    if owner == Owner() and parent is not None:
        # Between two runs of a chain nobody is present: whoever asked for the first asked for all.
        owner = parent.owner
    return TaskHeader(task_id=uuid4(), owner=owner, is_fresh=True)


def inherit(parent: TaskHeader) -> TaskHeader:
    """For a task that goes on under another name: the row goes on as its next attempt."""
    return replace(parent, is_fresh=False)
