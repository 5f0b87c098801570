"""The header that travels with a task's message, if its runner has room for one: the row's id and owner.

With it, a worker that receives the message before the row is committed can create the row itself. Used by the
runners' own files. Knows no runner.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final, Self
from uuid import UUID, uuid4

from telltale.owners import Owner, current_owner

logger = logging.getLogger(__name__)

HEADER: Final = "telltale"
"""The name of the header in a message."""

SESSION_CHARS: Final = 64
"""The longest name of a session that a row can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHeader:
    """What a message says about the row of its task."""

    task_id: UUID
    owner: Owner
    runner_id: str | None = None
    """The id that the runner is to use, if it accepts one. Not part of the JSON: the runner's message carries it."""
    needs_row: bool = False
    """Whether the row does not exist yet: the publisher creates it once the message is sent."""
    group: UUID | None = None
    """The id of the group that the task is a member of; None if it is in no group."""

    def to_json(self) -> dict[str, Any]:
        """The header as plain JSON. A user's primary key that is not a number becomes text, which Django accepts."""
        user_id = self.owner.user_id
        plain_user_id = user_id if isinstance(user_id, int | None) else str(user_id)
        data = {"task": str(self.task_id), "owner": [plain_user_id, self.owner.session], "fresh": self.needs_row}
        return data | ({"group": str(self.group)} if self.group is not None else {})

    @classmethod
    def from_json(cls, data: object) -> Self | None:
        """The reverse of `to_json`; None for anything else, such as a message that was sent without Telltale.

        Never raises: a message may come from anything that can write to the runner's queue.
        """
        if not isinstance(data, Mapping) or "task" not in data:
            return None
        try:
            group = UUID(data["group"]) if data.get("group") else None
            return cls(
                task_id=UUID(data["task"]),
                owner=_owner_from_json(data.get("owner") or (None, "")),
                needs_row=bool(data.get("fresh")),
                group=group,
            )
        except Exception as error:
            logger.warning("A message's header %r is ignored, because it is malformed: %.80r", HEADER, error)
            return None


def _owner_from_json(data: Sequence[Any]) -> Owner:
    """The owner in a header; raises if the pair can't be a user's primary key and a session's name."""
    from django.contrib.auth import get_user_model

    user_id, session = data
    if not isinstance(session, str) or not session.isprintable() or len(session) > SESSION_CHARS:
        raise ValueError(f"{session!r:.80} is no name of a session.")
    if user_id is None:
        return Owner(session=session)
    if isinstance(user_id, bool) or not isinstance(user_id, int | str):
        raise ValueError(f"{user_id!r:.80} is no primary key.")
    return Owner(user_id=get_user_model()._meta.pk.to_python(user_id), session=session)


_headers: ContextVar[tuple[TaskHeader, ...]] = ContextVar("telltale_task_headers", default=())
"""The headers for the messages that are about to be sent; see `sending`."""


@contextmanager
def sending(*task_ids: UUID, runner_id: str | None = None) -> Iterator[None]:
    """Within it, the runner's hook takes these rows' headers (`take_headers`), and so creates no second rows."""
    owner = current_owner()
    headers = tuple(TaskHeader(task_id=task_id, owner=owner, runner_id=runner_id) for task_id in task_ids)
    token = _headers.set(headers)
    try:
        yield
    finally:
        _headers.reset(token)


def take_headers() -> tuple[TaskHeader, ...]:
    """Return the headers of the surrounding `sending` and remove them: an eager mode may enqueue tasks of its own."""
    headers = _headers.get()
    _headers.set(())
    return headers


def take_header() -> TaskHeader | None:
    """As `take_headers`, for a single message; None outside `sending`."""
    headers = take_headers()
    return headers[0] if headers else None


def new_header(parent: TaskHeader | None = None) -> TaskHeader:
    """The header for a message that the runner is about to send. `parent`: the header of the task that sends it."""
    header = take_header()
    if header is not None:
        return header
    owner = current_owner()
    if owner == Owner() and parent is not None:
        # Between two tasks of a chain there is no current owner: the first task's owner owns all of them.
        owner = parent.owner
    return TaskHeader(task_id=uuid4(), owner=owner, needs_row=True)


def inherit(parent: TaskHeader) -> TaskHeader:
    """The header for a task that replaces another one: its run is the next attempt of the same row."""
    return replace(parent, needs_row=False)
