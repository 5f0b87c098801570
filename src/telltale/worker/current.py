"""The tracker of the code that runs now, and the public functions that use it. Outside a run, they do nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from telltale.worker.context import in_context, tracker_in_context
from telltale.worker.tracker import Tracker


class NoTracker(Tracker):
    """The tracker outside a run: ignores everything that is set."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        # Only the initial value of each attribute is kept.
        if not hasattr(self, name):
            super().__setattr__(name, value)

    def advance(self, n: float = 1) -> None:
        """Does nothing."""

    @contextmanager
    def stage(self, name: str, weight: float = 1, *, of: float | None = None) -> Iterator[Tracker]:
        """Does nothing."""
        yield self

    @contextmanager
    def uncancellable(self, reason: str) -> Iterator[None]:
        """Does nothing."""
        yield


_NO_TRACKER: Final = NoTracker()


def current() -> Tracker:
    """The tracker of the running task; outside a run, a tracker that ignores everything that is set."""
    tracker: Tracker = tracker_in_context.get() or _NO_TRACKER
    return tracker


@contextmanager
def tracking(tracker: Tracker) -> Iterator[None]:
    """Within it, `current()` is `tracker`."""
    with in_context(tracker, None):
        yield


def stage(name: str, weight: float = 1, *, of: float | None = None) -> Any:
    """`with telltale.stage("Reading", weight=1):` a part of the task with its own progress."""
    return current().stage(name, weight, of=of)


def check_cancelled() -> None:
    """Raise `Cancelled` if the task was cancelled; for loops without `progress`."""
    current().check_cancelled()


def no_cancel(reason: str) -> Any:
    """`with telltale.no_cancel("The ledger is being written"):` within it, a cancellation is delayed."""
    return current().uncancellable(reason)
