"""Celery's `map` and `starmap`: a task that calls another task once for each element, shown as one task that counts.

Celery defines these two tasks itself, so they are wrapped here, with options of ours. They are shown only if the task
that they call is tracked. `chunks` is a group of such tasks. Used by `celery.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Final

from telltale.dispatch.runner import TaskOptions

MAP_TASKS: Final = frozenset({"celery.map", "celery.starmap"})

MAP_OPTIONS: Final = TaskOptions(label="Many at once")
"""The options of both tasks. The label is not shown: a row has the label of the task that is called."""


def mapped_task(name: str, kwargs: Mapping[str, Any] | None) -> str | None:
    """The name of the task that is called for each element; None if `name` is neither `map` nor `starmap`."""
    if name not in MAP_TASKS or not kwargs or "task" not in kwargs:
        return None
    return str(kwargs["task"]["task"])


def with_progress(run: Callable[..., Any]) -> Callable[..., Any]:
    """Celery's function of `map` or `starmap`, which then reports how many elements are done."""
    from telltale.worker.loops import progress

    @wraps(run)
    def run_with_progress(task: Any, it: Sequence[Any]) -> Any:
        return run(task, progress(it))

    return run_with_progress
