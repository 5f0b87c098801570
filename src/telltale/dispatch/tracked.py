"""`@telltale.tracked`: what makes a function's runs visible, beneath the runner's own decorator.

Within a worker the wrapper asks the runners which call this is, makes sure that its row exists, and runs
the function inside `worker.run.attempt`. Called in any other way (a test, the shell, another task) it is
the function alone. Models are imported late: tasks' modules are imported before the apps are ready.
"""

import inspect
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload
from uuid import UUID

from asgiref.sync import sync_to_async

from telltale.dispatch.runner import OPTIONS_ATTRIBUTE, Call, Stops, TaskOptions, options_of
from telltale.owners import Owner, owned_by, present_owner

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from telltale.dispatch.runner import Runner

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

ROW_LOOK_S: Final = 0.05
"""How often a row that may come after its call is looked for."""

_open: ContextVar[tuple[str, str, int] | None] = ContextVar("telltale_open_call", default=None)
"""The call whose attempt is open here, so that a task that calls itself opens no second one."""


@overload
def tracked(fn: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def tracked(
    fn: None = None,
    /,
    *,
    label: object = None,
    key: Callable[..., str | None] | None = None,
    runner: str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def tracked(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    label: object = None,
    key: Callable[..., str | None] | None = None,
    runner: str | None = None,
) -> Any:
    """Make the runs of a function visible: `@shared_task` above, `@telltale.tracked(label="…")` beneath.

    `label`: what people read; from the function's name if it has none; may be a lazy translation.
    `key`: called with the task's arguments by `telltale.enqueue`: a run with the key of one that is still
    open joins it. Runners' own calls (`.delay`, `.enqueue`) have decided to run, and join nothing.
    `runner`: who gets it from `telltale.enqueue`, for runners that enqueue plain functions ("rq", "django_q").
    """
    if fn is None:
        return partial(tracked, label=label, key=key, runner=runner)
    if not inspect.isroutine(fn):
        raise TypeError(
            f"@telltale.tracked wraps functions, not {fn!r}: put it beneath the runner's own decorator, not above."
        )
    if options_of(fn) is not None:
        raise TypeError(f"{fn.__qualname__} is tracked twice: one @telltale.tracked is enough.")
    options = TaskOptions(label=label or label_from_name(fn.__name__), key=key, runner=runner)
    return wrapped(fn, options)


def wrapped(fn: Callable[..., Any], options: TaskOptions) -> Callable[..., Any]:
    """The function with its runs made visible under `options`."""
    wrapper = _async(fn, options) if inspect.iscoroutinefunction(fn) else _sync(fn, options)
    setattr(wrapper, OPTIONS_ATTRIBUTE, options)
    return wrapper


def label_from_name(name: str) -> str:
    """A function's name as a sentence's beginning: `import_contacts` is "Import contacts"."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:] or name


def _sync(fn: Callable[..., Any], options: TaskOptions) -> Callable[..., Any]:
    @wraps(fn)
    def run(*args: Any, **kwargs: Any) -> Any:
        found = _call_of(options)
        if found is None:
            return fn(*args, **kwargs)
        runner, call = found
        task_id, owner = _row_for(call)
        with _stopping(runner), _opened(call), owned_by(owner), _attempt(runner, call, task_id):
            return fn(*args, **kwargs)

    return run


def _async(fn: Callable[..., Any], options: TaskOptions) -> Callable[..., Any]:
    @wraps(fn)
    async def run(*args: Any, **kwargs: Any) -> Any:
        found = _call_of(options)
        if found is None:
            return await fn(*args, **kwargs)
        runner, call = found
        task_id, owner = await sync_to_async(_row_for)(call)
        with _stopping(runner), _opened(call), owned_by(owner):
            async with _Async(_attempt(runner, call, task_id)):
                return await fn(*args, **kwargs)

    return run


class _Async:
    """A context manager that waits for the database, entered and left in a thread."""

    def __init__(self, manager: "AbstractContextManager[Any]") -> None:
        self._manager = manager

    async def __aenter__(self) -> Any:
        return await sync_to_async(self._manager.__enter__)()

    async def __aexit__(self, *error: Any) -> bool | None:
        return await sync_to_async(self._manager.__exit__)(*error)


@contextmanager
def _opened(call: Call) -> Iterator[None]:
    token = _open.set(_identity(call))
    try:
        yield
    finally:
        _open.reset(token)


@contextmanager
def _stopping(runner: "Runner") -> Iterator[None]:
    """Tell a cancellation in the runner's own words, where it has some."""
    from telltale.worker.run import Cancelled

    try:
        yield
    except Cancelled as error:
        if isinstance(runner, Stops):
            raise runner.stopped(error) from error
        raise


def _identity(call: Call) -> tuple[str, str, int]:
    return (call.runner, call.runner_id, call.delivery)


def _call_of(options: TaskOptions) -> "tuple[Runner, Call] | None":
    """The run of exactly this function, unless its attempt is open already."""
    from telltale.dispatch.registry import all_runners

    for runner in all_runners():
        call = runner.current_call()
        if call is not None and call.options is options and _identity(call) != _open.get():
            return runner, call
    return None


def _attempt(runner: "Runner", call: Call, task_id: UUID | None) -> "AbstractContextManager[Any]":
    from telltale.worker.run import attempt

    make = partial(_make_unless_made, call) if _is_carried(call) else None
    return attempt(task_id=task_id, runner=call.runner, runner_id=call.runner_id, verdict=runner.verdict, make=make)


def _is_carried(call: Call) -> bool:
    return call.task_id is not None and call.owner is not None


def _make_unless_made(call: Call) -> None:
    from django.db import IntegrityError

    with suppress(IntegrityError):
        _make(call)


def _row_for(call: Call) -> tuple[UUID | None, Owner | None]:
    """The call's row, as its id and owner; made now if nobody did: by an eager mode, or an asker that could not.

    A row that is not there may also be in a transaction that has yet to commit. Then the making waits for
    it, as the database sees to, and finds that it exists. (None, None): the database is away, so the run
    is not shown; it happens all the same. What the task starts belongs to whoever asked for the task.
    """
    from django.db import DatabaseError, IntegrityError

    if _is_carried(call):
        return call.task_id, call.owner  # All is known: the claim will tell whether the row is there.
    try:
        return row_of(call) or _make(call)
    except IntegrityError:
        return row_of(call) or (None, None)  # somebody else has made it this moment
    except DatabaseError as error:
        logger.warning("A run of %s (%s) is not shown: its row can't be read: %s", call.name, call.runner_id, error)
        return None, call.owner


def row_of(call: Call) -> tuple[UUID, Owner] | None:
    """The call's row, as its id and owner; waits for it as long as the call says. None if it is not there."""
    from telltale import conf
    from telltale.models import TaskState

    rows = TaskState.objects.using(conf.settings().database)
    rows = rows.filter(pk=call.task_id) if call.task_id else rows.filter(runner=call.runner, runner_id=call.runner_id)
    patience = time.monotonic() + call.row_wait_s
    while True:
        row = rows.values_list("pk", "owner_id", "session").first()
        if row is not None:
            return row[0], Owner(user_id=row[1], session=row[2])
        if time.monotonic() >= patience:
            return None
        time.sleep(ROW_LOOK_S)


def _make(call: Call) -> tuple[UUID, Owner]:
    from telltale.dispatch.rows import create_queued_row

    owner = call.owner if call.owner is not None else present_owner()
    return create_queued_row(call, owner=owner), owner
