"""The handle inside a running task, and the public calls that use it.

The task's thread sets plain attributes; the reporter's thread reads them (`marks`, `read`). There is no clock and
no I/O here, and a lock only where a stage begins or ends: a turn of a loop costs tens of nanoseconds.
Outside a run everything here does nothing. Knows the arithmetic of stages; must not know store or broker.
"""

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast, overload

from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from telltale import native
from telltale.core.progress import Stages
from telltale.core.snapshot import Progress

T = TypeVar("T")

Marks = tuple[int, Any, Any, Any, Any, Any, Any, Any]
"""What a tracker has been told, unread: turns, current, total, unit, message, label, no_cancel, cancel_requested."""


class Cancelled(BaseException):
    """A person asked for the task's end. Raised inside the task, at its next turn or `check_cancelled()`.

    It is no `Exception`, because code that catches `Exception` for each row would otherwise go on to the last row.
    Source: docs/decisions/0008-cancelled-is-a-base-exception.md.
    """


class RunCancelled(Cancelled, Exception):
    """A `Cancelled` as it leaves its run, after the end is written.

    It is an `Exception` too, because workers and servers may die of any other `BaseException`.
    """


def out_of_run(error: BaseException) -> BaseException:
    """What leaves a run in place of `error`: a `RunCancelled` for a `Cancelled`, also for a group of nothing else.

    A group that holds other errors too leaves without its cancellations. All else is returned as it is.
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
    """One attempt's progress, as its task tells it. Set the attributes at will, from the task's thread."""

    __slots__ = (
        "_counting",
        "_lock",
        "_outer",
        "_stage",
        "_stages",
        "_turns",
        "cancel_requested",
        "current",
        "label",
        "message",
        "no_cancel",
        "result",
        "stopping",
        "total",
        "unit",
    )

    current: float
    """Done in the present stage, in `unit`s."""
    total: float | None
    """Of the present stage; None while unknown."""
    message: str
    """What is being done just now, in words for people."""
    unit: str
    result: str | None
    """A link to what the task made; told with its end."""
    label: str | None
    """Set it to rename the task; None leaves its name."""
    no_cancel: str | None
    """Why it can't be cancelled just now; see `no_cancel()`."""
    cancel_requested: bool
    stopping: bool
    """Cancellation was requested, and nothing stands against it: what loops look at."""

    def __init__(self) -> None:
        self._lock = native.lock()
        self._stages = Stages()
        self._stage = self._stages.root
        self._outer: list[tuple[Any, ...]] = []
        self._turns = 0
        """Stages begun and ended: with it, marks differ wherever a sample may."""
        self._counting = False
        self.current, self.total, self.message, self.unit = 0, None, "", ""
        self.result = self.label = self.no_cancel = None
        self.cancel_requested = self.stopping = False

    @contextmanager
    def stage(self, name: str, weight: float = 1, *, of: float | None = None) -> Iterator["Tracker"]:
        """A part of the task with progress of its own. Stages nest; see `core/progress.py` about weights.

        Within it, `current`, `total`, `unit` and `message` are the stage's; afterwards those from before return.
        """
        with self._lock:
            self._put()
            self._outer.append((self._stage, self._counting, self.current, self.total, self.message, self.unit))
            self._stage = self._stages.enter(str(name), weight, of)
            self._turns += 1
            self._counting = False
            self.current, self.total, self.message, self.unit = 0, None, "", ""
        try:
            yield self
        finally:
            with self._lock:
                self._put()
                self._stages.leave()
                self._turns += 1
                self._stage, self._counting, self.current, self.total, self.message, self.unit = self._outer.pop()

    def marks(self) -> Marks:
        """By which the reporter sees whether anything may have changed: a tenth of what a sample costs, and no lock."""
        return (
            self._turns,
            self.current,
            self.total,
            self.unit,
            self.message,
            self.label,
            self.no_cancel,
            self.cancel_requested,
        )

    def read(self) -> tuple[Marks, Progress]:
        """How far it is, and the marks from which that was read; called from the reporter's thread."""
        with self._lock:
            return self._put(), self._stages.sample()

    def sample(self) -> Progress:
        """How far it is."""
        return self.read()[1]

    def _put(self) -> Marks:
        # Without the lock, a stage's figures could land in the stage that follows it, and the highest
        # fraction ever seen would be a lie for good.
        marks, stage = self.marks(), self._stage
        _turns, stage.current, stage.total, stage.unit, stage.message, *_rest = marks
        return marks

    def request_cancel(self) -> None:
        """Somebody asked for the end; called by the reporter."""
        self.cancel_requested = True
        self.stopping = self.no_cancel is None

    def check_cancelled(self) -> None:
        """Raise `Cancelled` if somebody asked for the end, and nothing stands against it."""
        if self.stopping:
            raise Cancelled

    @contextmanager
    def uncancellable(self, reason: str) -> Iterator[None]:
        """Within it cancelling waits; `reason` tells people why."""
        before, self.no_cancel = self.no_cancel, str(reason)
        self.stopping = False
        try:
            yield
        finally:
            self.no_cancel = before
            self.stopping = self.cancel_requested and before is None


class NoTracker(Tracker):
    """What `current()` is outside a run: it forgets whatever it is told."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        # Only the first value of each, the one that says nothing, is kept.
        if not hasattr(self, name):
            super().__setattr__(name, value)

    @contextmanager
    def stage(self, name: str, weight: float = 1, *, of: float | None = None) -> Iterator[Tracker]:
        """Nothing."""
        yield self

    @contextmanager
    def uncancellable(self, reason: str) -> Iterator[None]:
        """Nothing."""
        yield


_tracker: ContextVar[Tracker | None] = ContextVar("telltale_tracker", default=None)
_NOBODY = NoTracker()


def current() -> Tracker:
    """The tracker of the task that runs here; outside a run one that forgets whatever it is told."""
    return _tracker.get() or _NOBODY


@contextmanager
def tracking(tracker: Tracker) -> Iterator[None]:
    """Within it `tracker` is `current()`."""
    before = _tracker.get()
    _tracker.set(tracker)
    try:
        yield
    finally:
        # Not `reset(token)`: an async task is begun and ended in two threads, each with a copied context.
        _tracker.set(before)


def stage(name: str, weight: float = 1, *, of: float | None = None) -> Any:
    """`with telltale.stage("Reading", weight=1):` a part of the task with progress of its own."""
    return current().stage(name, weight, of=of)


def check_cancelled() -> None:
    """Raise `Cancelled` if somebody asked for the task's end; for loops that `progress` does not drive."""
    current().check_cancelled()


def no_cancel(reason: str) -> Any:
    """`with telltale.no_cancel("The ledger is being written"):` within it cancelling waits."""
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
    """Pass on what `iterable` yields, one by one, and count it; ends with `Cancelled` when somebody asks for that.

    `total`: how many there are; asked of the iterable where that costs nothing more. Nothing is fetched
    ahead. A loop inside a counted loop is not counted by itself: give it a `stage` of its own. Outside a run
    the iterable itself is returned.
    """
    tracker = current()
    if isinstance(tracker, NoTracker):
        return iterable
    is_async = hasattr(iterable, "__aiter__") and (_in_coroutine() or not hasattr(iterable, "__iter__"))
    if is_async:
        return _acounted(tracker, iterable, total, message, unit)
    return _counted(tracker, iterable, total, message, unit)


def _counted(
    tracker: Tracker, iterable: Iterable[T], total: float | None, message: str | None, unit: str | None
) -> Iterator[T]:
    if tracker._counting:
        for item in iterable:
            yield item
            if tracker.stopping:
                raise Cancelled
        return
    _begin(tracker, _size(iterable) if total is None else total, message, unit)
    tracker.current = -1
    try:
        if tracker.stopping:
            raise Cancelled
        # The index is stored as it is drawn: while an item is out, it is the number of those before it.
        for tracker.current, item in enumerate(iterable):
            yield item
            if tracker.stopping:
                raise Cancelled
        tracker.current += 1
    finally:
        tracker._counting = False


async def _acounted(
    tracker: Tracker, iterable: AsyncIterable[T], total: float | None, message: str | None, unit: str | None
) -> AsyncIterator[T]:
    counts = not tracker._counting
    if counts:
        _begin(tracker, await _asize(iterable) if total is None else total, message, unit)
    try:
        if tracker.stopping:
            raise Cancelled
        async for item in iterable:
            yield item
            if counts:
                tracker.current += 1
            if tracker.stopping:
                raise Cancelled
    finally:
        if counts:
            tracker._counting = False


def _begin(tracker: Tracker, total: float | None, message: str | None, unit: str | None) -> None:
    tracker._counting = True
    tracker.current, tracker.total = 0, total
    if message is not None:
        tracker.message = message
    if unit is not None:
        tracker.unit = unit


def _size(iterable: object) -> int | None:
    """How many it holds; None if only consuming it would tell.

    A query set is asked too: it fetches all its rows when it is iterated, so asking first costs nothing more.
    """
    try:
        return len(cast("Any", iterable))
    except TypeError:
        return None


async def _asize(iterable: object) -> int | None:
    return await sync_to_async(_size)(iterable) if isinstance(iterable, QuerySet) else _size(iterable)


def _in_coroutine() -> bool:
    """Whether the caller of `progress` is a coroutine, so that what can be iterated both ways is meant async."""
    frame = inspect.currentframe()
    caller = frame.f_back.f_back if frame and frame.f_back else None
    return bool(caller and caller.f_code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR))
