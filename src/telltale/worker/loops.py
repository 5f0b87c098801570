"""`telltale.progress`: loops that count, and that a cancellation ends.

An iteration costs tens of nanoseconds: the tracker asks the loop for its position when it is read
(`counting_loop.py`). Of nested loops the outermost counts. A loop that was left early keeps no later one from
counting. In a management command at a terminal, a loop has a bar there (`terminal_bar.py`).
"""

import inspect
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable, Iterator
from typing import Any, TypeVar, cast, overload

from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from telltale.worker.cancelled import Cancelled
from telltale.worker.counting_loop import CountingLoop
from telltale.worker.current import NoTracker, current
from telltale.worker.terminal_bar import Bar, bar_for
from telltale.worker.tracker import Tracker

T = TypeVar("T")


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
    itself is returned, unless a management command at a terminal runs it: then the loop has a bar there.
    """
    tracker = current()
    bar = bar_for(tracker)
    if bar is not None:
        tracker = bar.tracker
    elif isinstance(tracker, NoTracker):
        return iterable
    is_async = hasattr(iterable, "__aiter__") and (_in_coroutine() or not hasattr(iterable, "__iter__"))
    if is_async:
        return _AsyncCount(tracker, bar, iterable, total, message, unit)
    loop = CountingLoop()
    counted = _count(loop, tracker, bar, iterable, total, message, unit)
    loop.iterator = weakref.ref(counted)
    return counted


def _is_counting(tracker: Tracker) -> bool:
    """Whether a loop counts here now, around the one that asks."""
    return tracker.loop is not None and tracker.loop.is_running()


def _count(
    loop: CountingLoop,
    tracker: Tracker,
    bar: Bar | None,
    iterable: Iterable[T],
    total: float | None,
    message: str | None,
    unit: str | None,
) -> Iterator[T]:
    if _is_counting(tracker):
        for item in iterable:
            yield item
            if tracker.stopping:
                raise Cancelled
        return
    loop.begin()
    _start_counting(loop, tracker, _length(iterable) if total is None else total, message, unit)
    try:
        if bar is not None:
            bar.begin(loop)
        tracker.check_cancelled()
        for _turn, item in zip(loop.turns, iterable, strict=False):
            yield item
            if tracker.stopping:
                next(loop.turns)  # The item counts.
                raise Cancelled
    finally:
        if bar is not None:
            bar.close()
        if tracker.loop is loop:
            tracker.follow(None)


class _AsyncCount(AsyncIterator[T]):
    """Counts the items of an async iterable. No generator: one that a loop leaves lives on until it is closed."""

    def __init__(
        self,
        tracker: Tracker,
        bar: Bar | None,
        iterable: AsyncIterable[T],
        total: float | None,
        message: str | None,
        unit: str | None,
    ) -> None:
        self._tracker, self._bar, self._iterable = tracker, bar, iterable
        self._total, self._message, self._unit = total, message, unit
        self._items: AsyncIterator[T] | None = None
        self._loop = CountingLoop()
        self._loop.iterator = weakref.ref(self)

    def __anext__(self) -> Awaitable[T]:
        if self._items is not None:
            return self._next(self._items)
        is_outermost = not _is_counting(self._tracker)
        if is_outermost:
            self._loop.begin(own_references=1)
        return self._first(is_outermost)

    def __del__(self) -> None:
        if self._bar is not None:
            self._bar.close()  # The loop was left early.

    async def _first(self, is_outermost: bool) -> T:
        tracker, iterable = self._tracker, self._iterable
        if is_outermost:
            total = await _length_async(iterable) if self._total is None else self._total
            _start_counting(self._loop, tracker, total, self._message, self._unit)
            if self._bar is not None:
                self._bar.begin(self._loop)
        tracker.check_cancelled()
        next(self._loop.turns)
        self._items = aiter(iterable)
        return await self._item(self._items)

    async def _next(self, items: AsyncIterator[T]) -> T:
        next(self._loop.turns)
        self._tracker.check_cancelled()
        return await self._item(items)

    async def _item(self, items: AsyncIterator[T]) -> T:
        try:
            return await anext(items)
        except BaseException:
            # The loop ends, normally or not.
            if self._bar is not None:
                self._bar.close()
            if self._tracker.loop is self._loop:
                self._tracker.follow(None)
            raise


def _start_counting(
    loop: CountingLoop, tracker: Tracker, total: float | None, message: str | None, unit: str | None
) -> None:
    if tracker.start_reporting is not None:
        tracker.start_reporting()
    tracker.follow(loop)
    tracker.total = total
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
