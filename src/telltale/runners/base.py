"""The contract of runners: what runs tasks, and the little that Telltale needs to know of it.

A runner makes the queued row when its own call enqueues (`install` connects that), tells inside a worker
which call is being run (`current_call`), and can enqueue by our word (`enqueue`). Ends seen from outside
the task, such as a parent that reports a child's death, come in through `elsewhere.ended_elsewhere`.
Everything that a runner cannot tell, the lease does. To write one, satisfy `Runner` and pass
`telltale.testing.runners.RunnerContract`.

This file imports nothing of Django's models, for tasks' modules are imported before the apps are ready.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from uuid import UUID

from telltale.owners import Owner

if TYPE_CHECKING:
    from telltale.worker.run import Verdict


class EnqueueFailed(Exception):
    """The runner could not take the task; nothing is left that says it is queued."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Mark:
    """What `tracked` remembers on the function that it wraps. Each is itself and no other."""

    label: object
    """What people read; may be a lazy translation, so it becomes text when it is needed."""
    key: Callable[..., str | None] | None = None
    """From the task's arguments to what makes two runs the same one; None from it joins nothing."""


MARK = "__telltale__"
"""The attribute that carries a function's `Mark`; `functools.wraps` copies it along."""


def mark_of(function: object) -> Mark | None:
    """The mark of a function; None where `tracked` is not beneath."""
    mark = getattr(function, MARK, None)
    return mark if isinstance(mark, Mark) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One run as its runner knows it, seen from inside the worker."""

    runner: str
    runner_id: str
    """The runner's own id: the row is found by it."""
    name: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] | None = None
    task_id: UUID | None = None
    """Our own id, where the runner carried it."""
    mark: Mark | None = None
    """Of the function that is being run; None if that is not tracked."""
    delivery: int = 0
    """Tells apart runs that share a `runner_id`, such as a retry nested in its first run."""
    owner: Owner | None = None
    """Whose it is, where the runner carried it; used only if the row does not exist yet."""
    row_wait_s: float = 0.0
    """How long the row may come after the call: some runners let a worker begin before they tell the asker."""


class Runner(Protocol):
    """One instance a process, made by the registry (`runners/__init__.py`)."""

    name: str
    """The word that is stored in `TaskState.runner`, such as "celery"."""

    def install(self) -> None:
        """Connect to the runner's signals; called once, when Django's apps are ready."""

    def owns(self, task: object) -> bool:
        """Whether `task` is this runner's kind of object, and so to be enqueued by it."""

    def name_of(self, task: object) -> str:
        """The dotted name by which `find` gets it back."""

    def function_of(self, task: object) -> object:
        """The function beneath, on which `tracked` may have left its mark."""

    def find(self, name: str) -> object | None:
        """The task of that name; None if this process does not know it."""

    def enqueue(self, task: object, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID) -> str:
        """Hand it to the runner now; returns the runner's id.

        The row `task_id` exists already: the runner's own enqueue hook must not make a second one.
        Raises whatever the runner raises: a failure to enqueue is an ordinary error.
        """

    def current_call(self) -> Call | None:
        """The call that this thread or coroutine is running; None outside a run. Cheap, never raises."""

    def verdict(self, error: BaseException) -> "Verdict | None":
        """What an exception that left the function means to this runner; None: what it says by itself."""


@runtime_checkable
class Stops(Protocol):
    """An ability that some runners have: an exception of their own for a run that was cancelled."""

    def stopped(self, error: BaseException) -> BaseException:
        """Raised in place of the cancellation `error`, after the row has ended."""
