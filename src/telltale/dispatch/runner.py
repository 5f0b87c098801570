"""The contract of runners: what runs tasks, and the little that Telltale needs to know of it.

A runner makes the queued row when its own call enqueues (`install` connects that), tells inside a worker
which call is being run (`current_call`), and can enqueue by our word (`enqueue`). Ends seen from outside
the task, such as a parent that reports a child's death, come in through `elsewhere.end_from_outside`.
Everything that a runner cannot tell, the lease does. To write one, satisfy `Runner` and pass
`telltale.testing.runners.RunnerContract`.

This file imports nothing of Django's models, for tasks' modules are imported before the apps are ready.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from uuid import UUID

from telltale.owners import Owner

if TYPE_CHECKING:
    from telltale.worker.run import Verdict


logger = logging.getLogger(__name__)


class Ability(StrEnum):
    """What some runners can do and others can't; each is asked of a runner by `abilities`."""

    CHOOSES_ID = "its id is known before it is enqueued"
    BULK = "many are enqueued in one go"
    ASYNC = "runs async functions"
    POSITION = "tells how many wait before one"
    LISTENING = "tells whether any worker listens"
    REVOKES = "takes back what waits"
    TERMINATES = "ends what runs, by force"
    REDELIVERS = "a killed worker's task comes again by itself"


class EnqueueFailed(Exception):
    """The runner could not take the task; nothing is left that says it is queued."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TaskOptions:
    """What `tracked` remembers on the function that it wraps. Each is itself and no other."""

    label: object
    """What people read; may be a lazy translation, so it becomes text when it is needed."""
    key: Callable[..., str | None] | None = None
    """From the task's arguments to what makes two runs the same one; None from it joins nothing."""
    runner: str | None = None
    """Whose task it is, where the function itself does not tell: some runners enqueue plain functions."""


OPTIONS_ATTRIBUTE = "__telltale__"
"""The attribute that carries a function's `TaskOptions`; `functools.wraps` copies it along."""


def options_of(function: object) -> TaskOptions | None:
    """The options of a function; None where `tracked` is not beneath."""
    options = getattr(function, OPTIONS_ATTRIBUTE, None)
    return options if isinstance(options, TaskOptions) else None


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
    options: TaskOptions | None = None
    """Of the function that is being run; None if that is not tracked."""
    delivery: int = 0
    """Tells apart runs that share a `runner_id`, such as a retry nested in its first run."""
    owner: Owner | None = None
    """Whose it is, where the runner carried it; used only if the row does not exist yet."""
    due_at: float | None = None
    """When it is to begin, in seconds since 1970, if not as soon as may be."""
    row_wait_s: float = 0.0
    """How long the row may come after the call: some runners let a worker begin before they tell the asker."""


def never_raises(handler: Callable[..., None]) -> Callable[..., None]:
    """For a runner's hooks: what goes wrong in showing a task must not keep it from running."""

    @wraps(handler)
    def handle(*args: Any, **kwargs: Any) -> None:
        try:
            handler(*args, **kwargs)
        except Exception:
            logger.exception("A task can't be shown; it runs all the same.")

    return handle


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
        """The function beneath, on which `tracked` may have left its options."""

    def find(self, name: str) -> object | None:
        """The task of that name; None if this process does not know it."""

    def enqueue(
        self, task: object, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Hand it to the runner now; returns the runner's id: `runner_id`, if it chose one by `ChoosesId`.

        The row `task_id` exists already: the runner's own enqueue hook must not make a second one.
        Raises whatever the runner raises: a failure to enqueue is an ordinary error.
        """

    def current_call(self) -> Call | None:
        """The call that this thread or coroutine is running; None outside a run. Cheap, never raises."""

    def verdict(self, error: BaseException) -> "Verdict | None":
        """What an exception that left the function means to this runner; None: what it says by itself."""


# The abilities that some runners have besides: each is a protocol of its own, and to satisfy it is to declare it.


@runtime_checkable
class ChoosesId(Protocol):
    """Its id can be chosen, so the queued row carries it from the start and needs no second write."""

    def new_id(self) -> str:
        """One that was never used: workers remember the ids of what was revoked."""


@runtime_checkable
class EnqueuesMany(Protocol):
    """Takes many calls of one task in one go; of those it takes all or none."""

    def enqueue_many(self, task: object, calls: Sequence["PendingCall"]) -> Sequence[str]:
        """As `Runner.enqueue` for each; returns the runner's ids in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCall:
    """One of many calls to be enqueued."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    task_id: UUID
    runner_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What a runner can tell of a task that waits; None is what it can't tell just now."""

    ahead: int | None = None
    """How many will begin before it."""
    is_listening: bool | None = None
    """Whether any worker would take it."""


@runtime_checkable
class KnowsPosition(Protocol):
    """Can tell how many tasks wait before one."""

    def ahead(self, task: object, runner_id: str) -> int | None:
        """Counted now; None if it does not wait, or stands too far behind to be found. May block for a moment."""


@runtime_checkable
class KnowsWorkers(Protocol):
    """Can tell whether anybody listens."""

    def is_listening(self, task: object) -> bool | None:
        """Whether a worker lives that takes such tasks. May block for a second: never called in a request."""


@runtime_checkable
class Revokes(Protocol):
    """Can take back what waits, so that no worker wakes for it."""

    def revoke(self, task: object, runner_id: str) -> None:
        """Called after the row has ended as cancelled. May raise: a worker that gets it all the same stops at once."""


@runtime_checkable
class Terminates(Protocol):
    """Can end a run that does not listen."""

    def terminate(self, task: object, runner_id: str) -> None:
        """End its process or thread; the hooks tell what came of it. May raise."""


@runtime_checkable
class Redelivers(Protocol):
    """Brings a killed worker's task again by itself: its next attempt."""

    def redelivers(self, task: object) -> bool:
        """Whether it does so for this task, as its site has set it up."""


@runtime_checkable
class RunsAsync(Protocol):
    """Runs `async def` functions."""

    runs_async: bool


_PROTOCOLS: Mapping[Ability, type] = {
    Ability.CHOOSES_ID: ChoosesId,
    Ability.BULK: EnqueuesMany,
    Ability.ASYNC: RunsAsync,
    Ability.POSITION: KnowsPosition,
    Ability.LISTENING: KnowsWorkers,
    Ability.REVOKES: Revokes,
    Ability.TERMINATES: Terminates,
    Ability.REDELIVERS: Redelivers,
}


def abilities(runner: Runner) -> frozenset[Ability]:
    """What this runner can do besides the contract."""
    return frozenset(ability for ability, protocol in _PROTOCOLS.items() if isinstance(runner, protocol))


@runtime_checkable
class Stops(Protocol):
    """An ability that some runners have: an exception of their own for a run that was cancelled."""

    def stopped(self, error: BaseException) -> BaseException:
        """Raised in place of the cancellation `error`, after the row has ended."""
