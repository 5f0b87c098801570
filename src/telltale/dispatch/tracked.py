"""`@telltale.tracked`: shows the runs of a function; goes beneath the runner's own decorator.

In a worker, the wrapper asks the runners for the current call, makes sure that its row exists, and runs the function
within `worker.run.run_attempt`. Called in any other way (in a test, in the shell, by another task), the function runs
as if it had no wrapper. Models are imported late, because modules with tasks are imported before the apps are ready.
"""

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload
from uuid import UUID

from asgiref.sync import sync_to_async

from telltale.core.labels import label_from_name
from telltale.dispatch.return_values import returned_json
from telltale.dispatch.runner import (
    OPTIONS_ATTRIBUTE,
    Call,
    ConvertsCancellation,
    TaskOptions,
    options_of,
)
from telltale.owners import owned_by

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from telltale.dispatch.runner import Runner

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

Identity = tuple[str, str, int]
"""Identifies a run of a task: runner, runner's id, delivery."""

_tracked_run: ContextVar[Identity | None] = ContextVar("telltale_tracked_run", default=None)
"""The run whose attempt is open here, so that a task that calls itself opens no second one."""


@overload
def tracked(fn: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def tracked(
    fn: None = None,
    /,
    *,
    label: object = None,
    key: Callable[..., str | None] | None = None,
    shared: bool = False,
    runner: str | None = None,
    result: bool | Callable[[Any], Any] = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def tracked(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    label: object = None,
    key: Callable[..., str | None] | None = None,
    shared: bool = False,
    runner: str | None = None,
    result: bool | Callable[[Any], Any] = False,
) -> Any:
    """Show the runs of a function: `@shared_task` above, `@telltale.tracked(label="…")` beneath.

    `label`: the task's name for people; by default made from the function's name, or from the task's name if the
    function is a method; may be a lazy translation.
    `key`: called by `telltale.enqueue` with the task's arguments. If the owner has an open task with the returned key,
    the call joins it. The runner's own calls (`.delay`, `.enqueue`) always run, and join nothing.
    `shared`: calls of all owners with one key join one task. Each of these owners may follow it, and only the one that
    started it may cancel it or run it again.
    `runner`: the name of the runner that `telltale.enqueue` uses, for runners that enqueue plain functions ("rq",
    "django_q").
    `result`: True to keep what the function returns, if it is JSON of at most `RETURN_BYTES`; or a function that
    returns what to keep of it. Only the task's owner may read it (`TaskState.return_value`, docs/events.md).
    """
    if fn is None:
        return partial(tracked, label=label, key=key, shared=shared, runner=runner, result=result)
    if not inspect.isroutine(fn):
        raise TypeError(
            f"@telltale.tracked wraps functions, not {fn!r}: put it beneath the runner's own decorator, not above."
        )
    if options_of(fn) is not None:
        raise TypeError(f"{fn.__qualname__} is tracked twice: remove one @telltale.tracked.")
    if label is None and not _is_method(fn):
        label = label_from_name(fn.__name__)
    return wrap(fn, TaskOptions(label=label, key=key, shared=shared, runner=runner, result=result))


def wrap(fn: Callable[..., Any], options: TaskOptions) -> Callable[..., Any]:
    """The function with a wrapper that shows its runs; the wrapper carries `options`."""
    wrapper = _wrap_async(fn, options) if inspect.iscoroutinefunction(fn) else _wrap_sync(fn, options)
    setattr(wrapper, OPTIONS_ATTRIBUTE, options)
    return wrapper


def _is_method(fn: Any) -> bool:
    """Whether the function stands in a class, from which several tasks may inherit it, such as `run` of Celery's."""
    scope = fn.__qualname__.rpartition(".")[0]
    return bool(scope) and not scope.endswith("<locals>")


def _wrap_sync(fn: Callable[..., Any], options: TaskOptions) -> Callable[..., Any]:
    @wraps(fn)
    def run(*args: Any, **kwargs: Any) -> Any:
        from telltale.dispatch.rows import find_or_create_row

        running = _find_run(options)
        if running is None:
            return fn(*args, **kwargs)
        runner, call = running
        task_id, owner = find_or_create_row(call)
        with (
            _cancellation_converted(runner),
            _run_remembered(call),
            owned_by(owner),
            _attempt(runner, call, task_id) as tracker,
        ):
            value = fn(*args, **kwargs)
            tracker.return_json = returned_json(value, options.result, call.name)
            return value

    return run


def _wrap_async(fn: Callable[..., Any], options: TaskOptions) -> Callable[..., Any]:
    @wraps(fn)
    async def run(*args: Any, **kwargs: Any) -> Any:
        from telltale.dispatch.rows import find_or_create_row

        running = _find_run(options)
        if running is None:
            return await fn(*args, **kwargs)
        runner, call = running
        task_id, owner = await sync_to_async(find_or_create_row)(call)
        with _cancellation_converted(runner), _run_remembered(call), owned_by(owner):
            async with _InThread(_attempt(runner, call, task_id)) as tracker:
                value = await fn(*args, **kwargs)
                tracker.return_json = returned_json(value, options.result, call.name)
                return value

    return run


def _find_run(options: TaskOptions) -> "tuple[Runner, Call] | None":
    """The current call of the function with these options; None outside a run, or if its attempt is open already."""
    from telltale.dispatch.registry import all_runners

    for runner in all_runners():
        call = _call_of(runner)
        if call is not None and call.options is options and _identity(call) != _tracked_run.get():
            return runner, call
    return None


def _call_of(runner: "Runner") -> Call | None:
    try:
        return runner.current_call()
    except Exception:
        # Such as a forged message: the task runs all the same.
        logger.exception("A run can't be shown, because the runner %s can't describe it.", runner.name)
        return None


def _identity(call: Call) -> Identity:
    return (call.runner, call.runner_id, call.delivery)


def _attempt(runner: "Runner", call: Call, task_id: UUID | None) -> "AbstractContextManager[Any]":
    from telltale.dispatch.rows import create_row_unless_there
    from telltale.worker.run import run_attempt

    return run_attempt(
        task_id=task_id,
        runner=call.runner,
        runner_id=call.runner_id,
        name=call.name,
        verdict=runner.verdict,
        # A call that runs at most once had its row before it was sent: if there is none now, the call was taken back.
        create_row=None if call.at_most_once else partial(create_row_unless_there, call),
        at_most_once=call.at_most_once,
    )


@contextmanager
def _run_remembered(call: Call) -> Iterator[None]:
    token = _tracked_run.set(_identity(call))
    try:
        yield
    finally:
        _tracked_run.reset(token)


@contextmanager
def _cancellation_converted(runner: "Runner") -> Iterator[None]:
    """Raise the runner's own exception in place of a cancellation, if it has one."""
    from telltale.worker.run import Cancelled

    try:
        yield
    except Cancelled as error:
        converted = _converted(runner, error)
        if converted is error:
            raise
        raise converted from error


def _converted(runner: "Runner", error: BaseException) -> BaseException:
    try:
        return runner.convert_cancellation(error) if isinstance(runner, ConvertsCancellation) else error
    except Exception:
        logger.exception("The runner %s can't convert a cancellation.", runner.name)
        return error


class _InThread:
    """An async context manager that enters and leaves `manager` in a thread, because it waits for the database."""

    def __init__(self, manager: "AbstractContextManager[Any]") -> None:
        self._manager = manager

    async def __aenter__(self) -> Any:
        return await sync_to_async(self._manager.__enter__)()

    async def __aexit__(self, *error: Any) -> bool | None:
        return await sync_to_async(self._manager.__exit__)(*error)
