"""The functions of this package that read or write the database, for coroutines such as async views.

Each calls the function of its name without the "a" in Django's thread for synchronous code, with the same arguments.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from asgiref.sync import sync_to_async

from telltale.dispatch.control import cancel, retry
from telltale.dispatch.enqueue import enqueue, enqueue_many
from telltale.models import TaskState
from telltale.owners import CURRENT_OWNER


async def aenqueue(
    task: Any, /, *args: Any, owner: Any = CURRENT_OWNER, key: str | None = None, label: object = None, **kwargs: Any
) -> TaskState:
    """Queue a run of `task`, as `telltale.enqueue` does; return its row."""
    return await sync_to_async(enqueue)(task, *args, owner=owner, key=key, label=label, **kwargs)


async def aenqueue_many(
    task: Any, calls: Iterable[Sequence[Any]], /, *, owner: Any = CURRENT_OWNER, label: object = None
) -> list[TaskState]:
    """Queue a run of `task` for each of `calls`, as `telltale.enqueue_many` does; return the rows in that order."""
    return await sync_to_async(enqueue_many)(task, calls, owner=owner, label=label)


async def acancel(task: TaskState, *, force: bool = False) -> bool:
    """Cancel a task, as `telltale.cancel` does. False if it has ended."""
    return await sync_to_async(cancel)(task, force=force)


async def aretry(task: TaskState) -> TaskState:
    """Queue the next attempt of a task, as `telltale.retry` does; return its row."""
    return await sync_to_async(retry)(task)
