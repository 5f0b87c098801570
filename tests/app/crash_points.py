"""Points at which a worker's process stands still, so that a test can kill it there: before and after each effect.

A task `stop_at(log, point)` names its point. The process that reaches it writes its own id to the log,
and waits. Installed in worker processes that have `TELLTALE_TEST_CRASH_POINTS` in their environment.
"""

import os
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

import telltale
from telltale import store
from telltale.dispatch.registry import by_name
from telltale.models import TaskState
from telltale.testing.runners import append_line

EFFECTS: Final = {"claim": store.claim, "save": store.save, "end": store.end}
POINTS: Final = [f"{when} {effect}" for effect in EFFECTS for when in ("before", "after")]


def stop_at(log: str, point: str) -> None:
    """The body of the tasks: one that stops at a save waits for it."""
    telltale.current().current = 3
    if point.endswith("save"):
        time.sleep(120)


def install() -> None:
    """Have the store's functions stop at the points."""
    for name, function in EFFECTS.items():
        setattr(store, name, _stopping(name, function))


def _stopping(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        row = _row(name, args, kwargs)
        _stop(row, f"before {name}")
        result = function(*args, **kwargs)
        _stop(row, f"after {name}")
        return result

    return wrapper


def _row(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> TaskState | None:
    """The task of the call; None in a process that does not run it, such as a parent that reports its end."""
    pk = args[0][0].id if name == "save" else kwargs.get("task_id") or args[0]
    row = TaskState.objects.filter(pk=pk).first()
    runner = by_name(row.runner) if row is not None else None
    if name != "save" and (runner is None or runner.current_call() is None):
        return None
    return row


def _stop(row: TaskState | None, point: str) -> None:
    arguments = row.call["args"] if row is not None else []
    if len(arguments) == 2 and arguments[1] == point:
        append_line(arguments[0], f"{os.getpid()}")
        while Path(arguments[0]).exists():
            time.sleep(0.05)


if "TELLTALE_TEST_CRASH_POINTS" in os.environ:
    install()
