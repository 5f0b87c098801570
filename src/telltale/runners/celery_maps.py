"""Celery's own `map` and `starmap`: one task that calls another for each of many arguments, shown as one bar.

The elements are counted, and what each says of itself stays its own business. `chunks` is a group of these.
Used by `celery.py`: Celery makes these tasks itself, so they carry a options of ours, and a row only where what
they call is tracked.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Final

from telltale.dispatch.runner import TaskOptions

NAMES: Final = frozenset({"celery.map", "celery.starmap"})

MARK_OF_MAPS: Final = TaskOptions(label="Many at once")
"""Of Celery's own two tasks; people read the label of what they call."""


def element_of(name: str, kwargs: Mapping[str, Any] | None) -> str | None:
    """The name of the task that is called for each; None if this is no map."""
    if name not in NAMES or not kwargs or "task" not in kwargs:
        return None
    return str(kwargs["task"]["task"])


def counting(run: Callable[..., Any]) -> Callable[..., Any]:
    """Celery's function, which counts its elements."""
    from telltale.worker.tracker import progress

    @wraps(run)
    def counted(task: Any, it: Sequence[Any]) -> Any:
        return run(task, progress(it))

    return counted
