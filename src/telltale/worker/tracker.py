"""The tracker: the handle inside a running task, and the public functions that use it.

The task's thread sets plain attributes; the reporter's thread reads them (`raw_values`, `read`). There is no clock and
no I/O here, and a lock only where a stage begins or ends, so an iteration of a loop costs tens of nanoseconds.
Outside a run, everything here does nothing. Knows the arithmetic of stages; must not know store or broker.
"""

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from operator import is_
from typing import Any, TypeVar, cast, overload

from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from telltale import native
from telltale.core.progress import Stages
from telltale.core.snapshot import Progress

T = TypeVar("T")

RawValues = tuple[int, Any, Any, Any, Any, Any, Any, Any]
"""A tracker's attributes as the task set them, unconverted.

In this order: stage_changes, current, total, unit, message, label, no_cancel, cancel_requested.
"""


class Cancelled(BaseException):
    """The task was cancelled. Raised inside the task, at the next iteration of `progress` or in `check_cancelled()`.

    Not an `Exception`, because code that catches `Exception` for each row would otherwise continue to the last row.
    Source: docs/decisions/0008-cancelled-is-a-base-exception.md.
    """


class RunCancelled(Cancelled, Exception):
    """A `Cancelled` outside its run, after the end is written.

    Also an `Exception`, because any other `BaseException` may end the worker or the server.
    """


def out_of_run(error: BaseException) -> BaseException:
    """The exception to raise outside the run in place of `error`.

    A `Cancelled`, or an exception group that holds nothing else, becomes a `RunCancelled`. A group that holds other
    errors too loses its cancellations. Any other error is returned unchanged.
    """
    if isinstance(error, Cancelled):
        return error if isinstance(error, RunCancelled) else RunCancelled(*error.args)
    if not isinstance(error, BaseExceptionGroup):
        return error
    cancellations, others = error.split(Cancelled)
    if cancellations is None:
        return error
    return RunCancelled() if others is None else others


class Tracker:
    """The progress of one attempt. The task sets the attributes at any time, from its own thread."""

    __slots__ = (
        "_is_counting",
        "_lock",
        "_outer_stages",
        "_place",
        "_place_values",
        "_stage",
        "_stage_changes",
        "_stages",
        "cancel_requested",
        "current",
        "label",
        "message",
        "no_cancel",
        "result",
        "return_json",
        "start_reporting",
        "stopping",
        "total",
        "unit",
    )

    current: float
    """How much of the current stage is done, in `unit`s."""
    total: float | None
    """The size of the current stage, in `unit`s; None while unknown."""
    message: str
    """What the task is doing now, as a text for people."""
    unit: str
    """What is counted, such as "rows"."""
    result: str | None
    """A link to the task's result; published when the task ends."""
    return_json: str | None
    """What the task's function returned, as JSON; None unless it is kept. Set by `tracked`."""
    label: str | None
    """A new name of the task; None keeps its name."""
    no_cancel: str | None
    """Why the task can't be cancelled now; see `no_cancel()`. None if it can."""
    cancel_requested: bool
    stopping: bool
    """Whether cancellation was requested and is allowed now; loops check this."""
    start_reporting: Callable[[], object] | None
    """Called where a loop or a stage begins, if the reporter could not start its threads; else None. Never raises."""

    def __init__(self) -> None:
        self._lock = native.lock()
        self._stages = Stages()
        self._stage = self._stages.root
        self._outer_stages: list[tuple[Any, ...]] = []
        self._stage_changes = 0
        """How often a stage began or ended, so that the raw values differ whenever the progress may."""
        self._place: Progress | None = None
        """The progress at the moment when an exception left a stage; None once the task has reported more."""
        self._place_values: tuple[Any, ...] = ()
        """The values of the outer stage after that moment: while they are unchanged, `_place` is the progress."""
        self._is_counting = False
        self.current, self.total, self.message, self.unit = 0, None, "", ""
        self.result = self.return_json = self.label = self.no_cancel = None
        self.cancel_requested = self.stopping = False
        self.start_reporting = None

    @contextmanager
    def stage(self, name: str, weight: float = 1, *, of: float | None = None) -> Iterator["Tracker"]:
        """A part of the task with its own progress. Stages nest; `core/progress.py` explains `weight` and `of`.

        Within it, `current`, `total`, `unit` and `message` belong to the stage. Afterwards the earlier values return.
        If an exception leaves the stage, the reported progress stays where it was until the task reports more.
        """
        if self.start_reporting is not None:
            self.start_reporting()
        with self._lock:
            self._copy_to_stage(self.raw_values())
            self._outer_stages.append(
                (self._stage, self._is_counting, self.current, self.total, self.message, self.unit)
            )
            self._stage = self._stages.enter(str(name), weight, of)
            self._stage_changes += 1
            self._is_counting = False
            self.current, self.total, self.message, self.unit = 0, None, "", ""
        try:
            yield self
        except BaseException:
            with self._lock:
                place = self._place_now()
                self._leave_stage()
                self._place, self._place_values = place, self.raw_values()[:5]
            raise
        else:
            with self._lock:
                self._copy_to_stage(self.raw_values())
                self._leave_stage()

    def _leave_stage(self) -> None:
        self._stages.leave()
        self._stage_changes += 1
        self._stage, self._is_counting, self.current, self.total, self.message, self.unit = self._outer_stages.pop()

    def raw_values(self) -> RawValues:
        """The values by which the reporter sees whether anything has changed. No lock, and a tenth of `read`'s time."""
        return (
            self._stage_changes,
            self.current,
            self.total,
            self.unit,
            self.message,
            self.label,
            self.no_cancel,
            self.cancel_requested,
        )

    def read(self) -> tuple[RawValues, Progress]:
        """The raw values, and the progress made from them. Called from the reporter's thread."""
        with self._lock:
            raw_values = self.raw_values()
            return raw_values, self._sample(raw_values)

    def sample(self) -> Progress:
        """The progress now."""
        return self.read()[1]

    def forget_place(self) -> None:
        """Report the present values, also if an exception left a stage: the task has dealt with it and succeeded."""
        with self._lock:
            self._place = None

    # Call these three with the lock held. Otherwise the values of one stage could be copied to the next, and the
    # fraction, which never goes back, would stay too high.

    def _sample(self, raw_values: RawValues) -> Progress:
        # By identity: a task may set objects that can't be compared.
        if self._place is not None and all(map(is_, raw_values, self._place_values)):
            return self._place
        self._place = None
        self._copy_to_stage(raw_values)
        return self._stages.sample()

    def _place_now(self) -> Progress | None:
        try:
            return self._sample(self.raw_values())
        except Exception:
            return None  # The task may set any object. Its own exception is the one that must leave the stage.

    def _copy_to_stage(self, raw_values: RawValues) -> None:
        stage = self._stage
        _stage_changes, stage.current, stage.total, stage.unit, stage.message, *_rest = raw_values

    def request_cancel(self) -> None:
        """Note that cancellation was requested. Called by the reporter and the saver."""
        self.cancel_requested = True
        self.stopping = self.no_cancel is None

    def check_cancelled(self) -> None:
        """Raise `Cancelled` if cancellation was requested and is allowed now."""
        if self.stopping:
            raise Cancelled

    @contextmanager
    def uncancellable(self, reason: str) -> Iterator[None]:
        """Within it, a cancellation is delayed. `reason`: why, as a text for people."""
        outer_reason, self.no_cancel = self.no_cancel, str(reason)
        self.stopping = False
        try:
            yield
        finally:
            self.no_cancel = outer_reason
            self.stopping = self.cancel_requested and outer_reason is None


class NoTracker(Tracker):
    """The tracker outside a run: ignores everything that is set."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        # Only the initial value of each attribute is kept.
        if not hasattr(self, name):
            super().__setattr__(name, value)

    @contextmanager
    def stage(self, name: str, weight: float = 1, *, of: float | None = None) -> Iterator[Tracker]:
        """Does nothing."""
        yield self

    @contextmanager
    def uncancellable(self, reason: str) -> Iterator[None]:
        """Does nothing."""
        yield


_tracker: ContextVar[Tracker | None] = ContextVar("telltale_tracker", default=None)
_NO_TRACKER = NoTracker()


def current() -> Tracker:
    """The tracker of the running task; outside a run, a tracker that ignores everything that is set."""
    return _tracker.get() or _NO_TRACKER


@contextmanager
def tracking(tracker: Tracker) -> Iterator[None]:
    """Within it, `current()` is `tracker`."""
    outer = _tracker.get()
    _tracker.set(tracker)
    try:
        yield
    finally:
        # Not `reset(token)`: an async task begins and ends in two threads, each with its own copy of the context.
        _tracker.set(outer)


def stage(name: str, weight: float = 1, *, of: float | None = None) -> Any:
    """`with telltale.stage("Reading", weight=1):` a part of the task with its own progress."""
    return current().stage(name, weight, of=of)


def check_cancelled() -> None:
    """Raise `Cancelled` if the task was cancelled; for loops without `progress`."""
    current().check_cancelled()


def no_cancel(reason: str) -> Any:
    """`with telltale.no_cancel("The ledger is being written"):` within it, a cancellation is delayed."""
    return current().uncancellable(reason)


@overload
def progress(
    iterable: Iterable[T], total: float | None = None, message: str | None = None, unit: str | None = None
) -> Iterable[T]: ...
@overload
def progress(
    iterable: AsyncIterable[T], total: float | None = None, message: str | None = None, unit: str | None = None
) -> AsyncIterable[T]: ...
def progress(iterable: Any, total: float | None = None, message: str | None = None, unit: str | None = None) -> Any:
    """Yield the items of `iterable` and count them; raise `Cancelled` when the task is cancelled.

    `total`: the number of items; by default the iterable's length, if that costs nothing more. No item is fetched
    ahead. A `progress` within another `progress` is not counted: give it its own `stage`. Outside a run, the iterable
    itself is returned.
    """
    tracker = current()
    if isinstance(tracker, NoTracker):
        return iterable
    is_async = hasattr(iterable, "__aiter__") and (_in_coroutine() or not hasattr(iterable, "__iter__"))
    if is_async:
        return _count_async(tracker, iterable, total, message, unit)
    return _count(tracker, iterable, total, message, unit)


def _count(
    tracker: Tracker, iterable: Iterable[T], total: float | None, message: str | None, unit: str | None
) -> Iterator[T]:
    if tracker._is_counting:
        for item in iterable:
            yield item
            if tracker.stopping:
                raise Cancelled
        return
    _start_counting(tracker, _length(iterable) if total is None else total, message, unit)
    try:
        tracker.check_cancelled()
        tracker.current = -1
        # The loop variable is the tracker's own attribute: during an iteration it is the number of items before.
        for tracker.current, item in enumerate(iterable):
            yield item
            if tracker.stopping:
                tracker.current += 1
                raise Cancelled
        tracker.current += 1
    finally:
        tracker._is_counting = False


async def _count_async(
    tracker: Tracker, iterable: AsyncIterable[T], total: float | None, message: str | None, unit: str | None
) -> AsyncIterator[T]:
    is_outermost = not tracker._is_counting
    if is_outermost:
        _start_counting(tracker, await _length_async(iterable) if total is None else total, message, unit)
    try:
        if tracker.stopping:
            raise Cancelled
        async for item in iterable:
            yield item
            if is_outermost:
                tracker.current += 1
            if tracker.stopping:
                raise Cancelled
    finally:
        if is_outermost:
            tracker._is_counting = False


def _start_counting(tracker: Tracker, total: float | None, message: str | None, unit: str | None) -> None:
    if tracker.start_reporting is not None:
        tracker.start_reporting()
    tracker._is_counting = True
    tracker.current, tracker.total = 0, total
    if message is not None:
        tracker.message = message
    if unit is not None:
        tracker.unit = unit


def _length(iterable: object) -> int | None:
    """The number of items; None if only consuming the iterable would tell.

    `len` of a query set fetches all its rows. The iteration would fetch them anyway, so this costs nothing more.
    """
    try:
        return len(cast("Any", iterable))
    except Exception:
        return None  # It has none, or can't tell it. An error of the iterable itself is raised by the iteration.


async def _length_async(iterable: object) -> int | None:
    return await sync_to_async(_length)(iterable) if isinstance(iterable, QuerySet) else _length(iterable)


def _in_coroutine() -> bool:
    """Whether the caller of `progress` is a coroutine, which iterates a query set with `async for`."""
    frame = inspect.currentframe()
    caller = frame.f_back.f_back if frame and frame.f_back else None
    return bool(caller and caller.f_code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR))
