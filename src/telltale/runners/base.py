"""The contract of runners: what runs tasks, and the little that Telltale needs to know of it.

A runner makes the queued row when its own call enqueues (`queued`), tells inside a worker which call is
being run (`current_call`), and can enqueue by our word (`enqueue`). Ends seen from outside the task, such
as a parent that reports a child's death, come in through `ended_elsewhere`. Everything that a runner
cannot tell, the lease does. To write one, satisfy `Runner` and pass `telltale.testing.runners.RunnerContract`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID


class EnqueueFailed(Exception):
    """The runner could not take the task; nothing is left that says it is queued."""


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

    def find(self, name: str) -> object | None:
        """The task of that name; None if this process does not know it."""

    def enqueue(self, task: object, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID) -> str:
        """Hand it to the runner now; returns the runner's id.

        The row `task_id` exists already: the runner's own enqueue hook must not make a second one.
        Raises whatever the runner raises: a failure to enqueue is an ordinary error.
        """

    def current_call(self) -> Call | None:
        """The call that this thread or task is running; None outside a run."""
