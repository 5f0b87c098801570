"""The contract of runners: what Telltale needs from each system that runs tasks, such as Celery.

A runner does three things. Its hooks create the queued row when the system's own call enqueues a task (`install`
connects them). Inside a worker it reports which call is running (`current_call`). It enqueues a task for
`telltale.enqueue` (`enqueue`). An end that only another process sees, such as a parent that reports a child's death,
is written by `rows.end_from_outside`. Any end that a runner cannot report is found when the lease expires.

To write a runner, satisfy `Runner` and pass `telltale.testing.runners.RunnerContract`.

This file imports no Django models, because modules with tasks are imported before the apps are ready.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable
from uuid import UUID

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction

from telltale.core.labels import label_from_name
from telltale.owners import Owner

if TYPE_CHECKING:
    from telltale.worker.run import Verdict


logger = logging.getLogger(__name__)


class EnqueueFailed(Exception):
    """The runner could not take the task. Nothing is queued, and no row says that it is."""


# A task's options


@dataclass(frozen=True, eq=False, kw_only=True)
class TaskOptions:
    """The arguments of `tracked`, kept on the function that it wraps. Compared by identity."""

    label: object = None
    """The task's name for people; None to make one from the task's name. May be a lazy translation, so it is converted
    to text only when it is needed."""
    key: Callable[..., str | None] | None = None
    """Returns the key of a call from its arguments; an open task with the same key is joined. None joins nothing."""
    shared: bool = False
    """Whether calls of other owners join it too; only the owner's own do otherwise."""
    runner: str | None = None
    """The name of the runner, for runners that enqueue plain functions."""
    result: bool | Callable[[Any], Any] = False
    """Whether the return value is kept; or a function that returns what is kept of it."""

    def label_for(self, name: str) -> str:
        """The label of a run; `name`: the task's name, as its runner knows it."""
        return str(self.label or label_from_name(name.rpartition(".")[2]))


OPTIONS_ATTRIBUTE = "__telltale__"
"""The attribute that carries a function's `TaskOptions`. `functools.wraps` copies it to decorated functions."""


def options_of(function: object) -> TaskOptions | None:
    """The options of a function; None if it is not tracked."""
    options = getattr(function, OPTIONS_ATTRIBUTE, None)
    return options if isinstance(options, TaskOptions) else None


# Calls

ROW_WAIT_S: Final = 0.5
"""How long to wait for a row whose call has not returned from enqueueing; it takes milliseconds. See `row_wait_s`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One run of a task, as its runner describes it inside the worker."""

    runner: str
    runner_id: str
    """The runner's own id, by which the row is found."""
    name: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] | None = None
    task_id: UUID | None = None
    """Telltale's id, if the runner's message carries it."""
    options: TaskOptions | None = None
    """The options of the function that is running; None if it is not tracked."""
    delivery: int = 0
    """Distinguishes runs with the same `runner_id`, such as a retry that is nested in the first run."""
    owner: Owner | None = None
    """The owner, if the runner's message carries it. Used only if the row does not exist yet."""
    due_at: float | None = None
    """When the run is due, in seconds since 1970; None if at once."""
    queue: str = ""
    """The runner's queue, if it has queues and this one is known."""
    row_wait_s: float = 0.0
    """How long to wait for the row. Some runners let a worker begin before the enqueueing call returns."""
    at_most_once: bool = False
    """Whether the row must be queued for the call to run. For runners that may deliver one message several times."""

    @property
    def carries_row(self) -> bool:
        """Whether the message carries the row's id and its owner, so that the row need not be looked up."""
        return self.task_id is not None and self.owner is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCall:
    """A call whose row exists and that is still to be given to its runner."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    task_id: UUID
    runner_id: str | None = None
    """The id that the runner is to use; None if it chooses one itself."""


# The contract


class Runner(Protocol):
    """What every runner provides. `registry` makes one instance in each process."""

    name: str
    """The value of `TaskState.runner`, such as "celery"."""

    def install(self) -> None:
        """Connect to the runner's signals; called once, when Django's apps are ready."""

    def owns(self, task: object) -> bool:
        """Whether this runner enqueues `task`."""

    def name_of(self, task: object) -> str:
        """The dotted name of the task, which `find` accepts."""

    def function_of(self, task: object) -> object:
        """The function of the task, which carries the options of `tracked`."""

    def find(self, name: str) -> object | None:
        """The task of that dotted name; None if this process does not know it."""

    def enqueue(
        self, task: object, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Enqueue the task now and return the runner's id: `runner_id`, if the runner satisfies `ChoosesId`.

        The row `task_id` exists already: the runner's own enqueueing hook must not create a second one.
        Raises any error of the runner.
        """

    def current_call(self) -> Call | None:
        """The call that this thread or coroutine is running; None outside a run. Cheap, and never raises."""

    def verdict(self, error: BaseException) -> "Verdict | None":
        """How the runner ends a run that `error` left; None if it has no special meaning to the runner."""


# Abilities: a runner has one if it satisfies its protocol.


class Ability(StrEnum):
    """What some runners can do and others cannot; see `abilities`. The values are the texts of the docs' table."""

    CHOOSES_ID = "chooses task ids before enqueueing"
    BULK = "enqueues many tasks in one call"
    ASYNC = "runs async functions"
    POSITION = "knows a task's position in the queue"
    LISTENING = "knows whether a worker is listening"
    MESSAGES = "knows whether a waiting task was lost"
    REVOKES = "revokes waiting tasks"
    TERMINATES = "terminates running tasks"
    REDELIVERS = "redelivers a killed worker's task"
    FOLLOWS = "follows tasks by their names"


@runtime_checkable
class ChoosesId(Protocol):
    """Accepts an id that Telltale chooses, so the queued row has it from the start and needs no second write."""

    def new_id(self) -> str:
        """An id that was never used before: workers remember the ids of revoked tasks."""


@runtime_checkable
class EnqueuesMany(Protocol):
    """Enqueues many calls of one task at once: either all of them or none."""

    def enqueue_many(self, task: object, calls: Sequence[PendingCall]) -> Sequence[str]:
        """As `Runner.enqueue` for each call; returns the runner's ids in the same order."""


@runtime_checkable
class KnowsPosition(Protocol):
    """Knows how many tasks are before one in its queue."""

    def ahead(self, task: object, runner_id: str) -> int | None:
        """How many tasks are before it now; None if it is not queued, or too far back to search. May block briefly."""


@runtime_checkable
class KnowsWorkers(Protocol):
    """Knows whether a worker is listening."""

    def is_listening(self, task: object) -> bool | None:
        """Whether a live worker takes such tasks. May block for a second, so it is never called in a request."""


@runtime_checkable
class KnowsMessages(Protocol):
    """Knows whether it still has a waiting task."""

    def has_message(self, task: object, runner_id: str) -> bool | None:
        """Whether a worker can still begin it; False if none will, such as after its worker was killed; None if
        unknown. May block briefly; its cost must not grow with the queue (`waiting_ids`)."""


@runtime_checkable
class Revokes(Protocol):
    """Can take a waiting task out of its queue, so that no worker receives it."""

    def revoke(self, task: object, runner_id: str) -> None:
        """Called after the row has ended as cancelled. May raise: a worker that receives the task stops at once."""


@runtime_checkable
class Terminates(Protocol):
    """Can end a run by force."""

    def terminate(self, task: object, runner_id: str) -> None:
        """End the run's process or thread; the runner's hooks then report the end. May raise."""


@runtime_checkable
class Redelivers(Protocol):
    """Delivers a killed worker's task again, as its next attempt."""

    def redelivers(self, task: object) -> bool:
        """Whether it does so for this task, by the site's settings."""


@runtime_checkable
class RunsAsync(Protocol):
    """Runs `async def` functions."""

    runs_async: bool


@runtime_checkable
class FollowsNames(Protocol):
    """Shows tasks whose code has no `tracked`, by their names: the setting `FOLLOW`, and `telltale.follow`."""

    def options_for(self, task: Any) -> TaskOptions | None:
        """The options of the task's function, or else those by which its name is followed; None if it is not shown."""


_PROTOCOLS: Mapping[Ability, type] = {
    Ability.CHOOSES_ID: ChoosesId,
    Ability.BULK: EnqueuesMany,
    Ability.ASYNC: RunsAsync,
    Ability.POSITION: KnowsPosition,
    Ability.LISTENING: KnowsWorkers,
    Ability.MESSAGES: KnowsMessages,
    Ability.REVOKES: Revokes,
    Ability.TERMINATES: Terminates,
    Ability.REDELIVERS: Redelivers,
    Ability.FOLLOWS: FollowsNames,
}


def abilities(runner: Runner) -> frozenset[Ability]:
    """The abilities of this runner."""
    return frozenset(ability for ability, protocol in _PROTOCOLS.items() if isinstance(runner, protocol))


def new_runner_id(runner: Runner) -> str | None:
    """An id for the runner's next task; None if the runner chooses it itself."""
    return runner.new_id() if isinstance(runner, ChoosesId) else None


# Help for the hooks of runners


@runtime_checkable
class DropsMessages(Protocol):
    """Drops a message that waits too long. A task that is still queued then ends as failed. Not in the docs' table."""

    def kept_s(self, task: object) -> float:
        """How long the task's message is kept at most, in seconds."""


def start_by(runner: Runner, task: object, *, now: float) -> float | None:
    """When a worker must have begun a task that is queued `now`; None if its runner keeps messages without limit."""
    return now + runner.kept_s(task) if isinstance(runner, DropsMessages) else None


@runtime_checkable
class KnowsQueue(Protocol):
    """Has queues, and knows that of a task. Not in the docs' table."""

    def queue_of(self, task: object) -> str:
        """The name of the queue into which `Runner.enqueue` puts the task. Cheap: it asks no service."""


@runtime_checkable
class KeepsRecords(Protocol):
    """Keeps a record of its own of each task, such as a stored result. Not in the docs' table."""

    def record(self, runner_id: str, queue: str) -> Any:
        """The record, to which the admin links, as an instance of a model or as a URL; None if there is none.

        Takes few queries: the admin calls it for each task's page. `queue`: the task's queue, empty if unknown.
        """


def stored_record(model: str, **lookup: Any) -> Any:
    """Return a row of a model ("app_label.ModelName"), of which only the primary key is read.

    None if there is no such row, the app is not installed, or the database fails.
    """
    try:
        rows = apps.get_model(model)._default_manager.filter(**lookup).only("pk")
        with transaction.atomic(using=rows.db):
            return rows.first()
    except (LookupError, ValueError, ValidationError, DatabaseError):
        return None


@runtime_checkable
class ConvertsCancellation(Protocol):
    """Has an exception of its own for a cancelled run, or must be told not to retry it. Not in the docs' table."""

    def convert_cancellation(self, error: BaseException) -> BaseException:
        """The exception to raise in place of the cancellation `error`; called after the row has ended."""


def suppress_and_log(hook: Callable[..., None]) -> Callable[..., None]:
    """Decorate a runner's hook so that its exceptions are logged: failing to show a task must not stop the task."""

    @wraps(hook)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            hook(*args, **kwargs)
        except Exception:
            logger.exception("A task can't be shown; it runs all the same.")

    return wrapper
