"""The tracker: the handle inside a running task.

The task's thread sets plain attributes; the reporter's thread reads them (`raw_values`, `read`). There is no I/O here,
and a lock and a clock only where a stage begins or ends, so an iteration of a loop costs tens of nanoseconds.
Knows the arithmetic of stages; must not know store or broker.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import is_
from time import monotonic
from typing import Any

from telltale import native
from telltale.core.progress import Stage, Stages
from telltale.core.snapshot import Progress
from telltale.core.stage_times import StageTimes
from telltale.worker.cancelled import Cancelled
from telltale.worker.context import in_context, stage_in_context, tracker_in_context
from telltale.worker.counting_loop import CountingLoop
from telltale.worker.stage_lock import StageLock

RawValues = tuple[Any, Any, Any, Any, Any, Any, Any, Any]
"""A tracker's attributes as the task set them, unconverted.

In this order: stage_changes (with the values of stages that run in parallel), current, total, unit, message, label,
no_cancel, cancel_requested.
"""


class Tracker:
    """The progress of one attempt. The task sets the attributes at any time, from its own thread."""

    __slots__ = (
        "_branches",
        "_lock",
        "_outer_stages",
        "_place",
        "_place_values",
        "_stage",
        "_stage_changes",
        "_stages",
        "_thread",
        "cancel_requested",
        "current",
        "is_in_worker",
        "label",
        "loop",
        "message",
        "no_cancel",
        "result",
        "return_json",
        "run",
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
    """What is counted, as a plural, such as "rows". A count of one is shown without it."""
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
    run: tuple[str, str, int] | None
    """The task's id, its name and the number of the attempt; None while the attempt is not claimed."""
    is_in_worker: bool
    """Whether a runner's worker runs the attempt, so that its terminal is not the task's."""
    start_reporting: Callable[[], object] | None
    """Called where a loop or a stage begins, if the reporter could not start its threads; else None. Never raises."""

    def __init__(self) -> None:
        self._lock = StageLock()
        self._thread = native.get_ident()
        self._stages = Stages(times=StageTimes(monotonic))
        self._stage = self._stages.root
        self._outer_stages: list[tuple[Any, ...]] = []
        """For each stage that is not over: the stage, and what was before it."""
        self._branches: dict[int, Branch] = {}
        """The stages that run in parallel to this line of stages."""
        self._stage_changes = 0
        """How often a stage began or ended, so that the raw values differ whenever the progress may."""
        self._place: Progress | None = None
        """The progress at the moment when an exception left a stage; None once the task has reported more."""
        self._place_values: tuple[Any, ...] = ()
        """The values of the outer stage after that moment: while they are unchanged, `_place` is the progress."""
        self.loop: CountingLoop | None = None
        """The loop that counts here; None if there is none. Set by `follow`."""
        self.current, self.total, self.message, self.unit = 0, None, "", ""
        self.result = self.return_json = self.label = self.no_cancel = None
        self.cancel_requested = self.stopping = self.is_in_worker = False
        self.start_reporting = self.run = None

    @property
    def _whole(self) -> "Tracker":
        """The tracker of the whole attempt: this one, unless it is a branch."""
        return self

    def follow(self, loop: CountingLoop | None) -> None:
        """From now on, `current` is the position of `loop`. With None, it is an attribute again and keeps its value."""
        is_branch = isinstance(self, Branch)
        if loop is None:
            _current_slot.__set__(self, self.current)
            self.__class__ = Branch if is_branch else Tracker
            self.loop = None
        else:
            self.loop = loop
            self.__class__ = _FollowingBranch if is_branch else _FollowingTracker

    def advance(self, n: float = 1) -> None:
        """Add `n` to `current`. Safe from several threads and coroutines at once."""
        with self._lock.held:
            self.current = (self.current or 0) + n
        self._lock.done()

    @contextmanager
    def stage(self, name: str, weight: float = 1, *, of: float | None = None) -> Iterator["Tracker"]:
        """A part of the task with its own progress. Stages nest; `core/progress.py` explains `weight` and `of`.

        Within it, `current`, `total`, `unit` and `message` belong to the stage. Afterwards the earlier values return.
        If an exception leaves the stage, the reported progress stays where it was until the task reports more. Stages
        of several threads or coroutines add up: each gets a tracker of its own, which `current()` returns there.
        """
        whole = self._whole
        if whole.start_reporting is not None:
            whole.start_reporting()
        with self._lock.held:
            tracker, stage = whole._enter(str(name), weight, of)
        self._lock.done()
        with in_context(tracker, stage):
            try:
                yield tracker
            except BaseException:
                self._lock.change(partial(tracker._leave_by_error, stage))
                raise
            else:
                self._lock.change(partial(tracker._leave, stage))

    # Call these with the lock held.

    def _enter(self, name: str, weight: float, of: float | None) -> tuple["Tracker", Stage]:
        """Begin a stage, in this line of stages or in parallel to it; return its tracker, and the stage."""
        here, parent = tracker_in_context.get(), stage_in_context.get()
        is_of_this_run = here is not None and here._whole is self
        if is_of_this_run or native.get_ident() == self._thread:
            line = here if here is not None and is_of_this_run else self
            parent = self._stages.open_ancestor(parent if is_of_this_run else line._stage)
        else:
            # Another thread, which has no copy of the context: all that is known is where the task is.
            line, parent = None, self._stage
        if line is None or parent is not line._stage:
            branch = Branch(self, self._stages.enter(name, weight, of, parent=parent))
            self._branches[id(branch)] = branch
            self._stage_changes += 1
            return branch, branch._stage
        line._copy_to_stage(line.raw_values())
        outer = (line._stage, line.loop, line.current, line.total, line.message, line.unit)
        line._stage = self._stages.enter(name, weight, of, parent=None if line is self else parent)
        line._outer_stages.append((line._stage, *outer))
        self._stage_changes += 1
        line.follow(None)
        line.current, line.total, line.message, line.unit = 0, None, "", ""
        return line, line._stage

    def _leave_by_error(self, stage: Stage) -> None:
        """End a stage of this line, and go on to report the progress at this moment."""
        whole = self._whole
        place = whole._place_at(self, stage)
        self._leave(stage)
        whole._place, whole._place_values = place, whole.raw_values()[:5]

    def _leave(self, stage: Stage) -> None:
        """End a stage of this line. Those within it that still run end with it."""
        whole = self._whole
        for number, (entered, *_outer) in enumerate(self._outer_stages):
            if entered is stage:
                self._copy_to_stage(self.raw_values())
                for inner, *_inner_outer in reversed(self._outer_stages[number:]):
                    whole._stages.leave(inner)
                _entered, self._stage, loop, current, self.total, self.message, self.unit = self._outer_stages[number]
                self.follow(loop)
                self.current = current
                del self._outer_stages[number:]
                whole._stage_changes += 1
                return

    def raw_values(self) -> RawValues:
        """The values by which the reporter sees whether anything has changed. No lock, and a tenth of `read`'s time."""
        return (
            (self._stage_changes, *self._branch_values()) if self._branches else self._stage_changes,
            self.current,
            self.total,
            self.unit,
            self.message,
            self.label,
            self.no_cancel,
            self.cancel_requested,
        )

    def _branch_values(self) -> list[tuple[Any, ...]]:
        return [branch.raw_values() for branch in list(self._branches.values())]

    def read(self) -> tuple[RawValues, Progress]:
        """The raw values, and the progress made from them. Called from the reporter's thread."""
        with self._lock.held:
            raw_values = self.raw_values()
            read = raw_values, self._sample(raw_values)
        self._lock.done()
        return read

    def sample(self) -> Progress:
        """The progress now."""
        return self.read()[1]

    def stage_times(self) -> list[Any]:
        """How long the outermost stages have taken until now, as the row keeps it; empty without stages."""
        with self._lock.held:
            times = self._stages.times.to_json() if self._stages.times else []
        self._lock.done()
        return times

    def forget_place(self) -> None:
        """Report the present values, also if an exception left a stage: the task has dealt with it and succeeded."""
        with self._lock.held:
            self._place = None
        self._lock.done()

    # Call these three with the lock held. Otherwise the values of one stage could be copied to the next, and the
    # fraction, which never goes back, would stay too high.

    def _sample(self, raw_values: RawValues) -> Progress:
        # By identity: a task may set objects that can't be compared.
        if self._place is not None and all(map(is_, raw_values, self._place_values)):
            return self._place
        self._place = None
        self._copy_all(raw_values)
        return self._stages.sample()

    def _copy_all(self, raw_values: RawValues) -> None:
        self._copy_to_stage(raw_values)
        for branch in list(self._branches.values()):
            branch._copy_to_stage(branch.raw_values())

    def _place_at(self, tracker: "Tracker", stage: Stage) -> Progress | None:
        """The progress at the moment when an exception leaves the stage of that tracker."""
        try:
            if stage is not tracker._stage:
                return None
            raw_values = self.raw_values()
            if tracker is self and self._place is not None and all(map(is_, raw_values, self._place_values)):
                return self._place
            self._copy_all(raw_values)
            return self._stages.sample(None if tracker is self else stage)
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


def _of_whole(name: str) -> Any:
    """An attribute that a branch shares with the tracker of the whole attempt."""

    def get(branch: "Branch") -> Any:
        return getattr(branch._main, name)

    def set_(branch: "Branch", value: object) -> None:
        setattr(branch._main, name, value)

    return property(get, set_)


class Branch(Tracker):
    """The tracker of a stage that runs in parallel to others: its own figures and message, all else the attempt's."""

    __slots__ = ("_main", "_root")

    cancel_requested = _of_whole("cancel_requested")
    is_in_worker = _of_whole("is_in_worker")
    label = _of_whole("label")
    no_cancel = _of_whole("no_cancel")
    result = _of_whole("result")
    return_json = _of_whole("return_json")
    run = _of_whole("run")
    start_reporting = _of_whole("start_reporting")
    stopping = _of_whole("stopping")

    def __init__(self, main: Tracker, stage: Stage) -> None:
        self._main, self._root = main, stage
        self._lock, self._stages, self._stage = main._lock, main._stages, stage
        self._outer_stages = []
        self.loop = None
        self.current, self.total, self.message, self.unit = 0, None, "", ""

    @property
    def _whole(self) -> Tracker:
        return self._main

    def _leave(self, stage: Stage) -> None:
        if stage is not self._root:
            super()._leave(stage)
            return
        self._copy_to_stage(self.raw_values())
        for inner, *_outer in reversed(self._outer_stages):
            self._stages.leave(inner)
        self._stages.leave(stage)
        self._main._branches.pop(id(self), None)
        self._main._stage_changes += 1

    def raw_values(self) -> RawValues:
        """Its own values; the others are those of the whole attempt."""
        return (0, self.current, self.total, self.unit, self.message, None, None, False)

    def read(self) -> tuple[RawValues, Progress]:
        """Those of the whole attempt."""
        return self._main.read()

    def forget_place(self) -> None:
        """That of the whole attempt."""
        self._main.forget_place()

    def request_cancel(self) -> None:
        """That of the whole attempt."""
        self._main.request_cancel()


_current_slot: Any = Tracker.__dict__["current"]


class _Following:
    """Makes `current` the position of a loop. A class, because a property costs a plain tracker four times as much."""

    __slots__ = ()

    loop: CountingLoop | None

    @property
    def current(self) -> Any:
        """See `Tracker.current`."""
        loop = self.loop
        return _current_slot.__get__(self) if loop is None else loop.current

    @current.setter
    def current(self, value: Any) -> None:
        loop = self.loop
        if loop is None:
            _current_slot.__set__(self, value)
        else:
            loop.current = value


class _FollowingTracker(_Following, Tracker):
    """A tracker in which a loop counts."""

    __slots__ = ()


class _FollowingBranch(_Following, Branch):
    """A branch in which a loop counts."""

    __slots__ = ()
