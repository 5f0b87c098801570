"""The lock of an attempt's stages."""

from collections.abc import Callable
from typing import Any

from telltale import native


class StageLock:
    """A lock between threads that makes a change later if its own thread holds it: `with lock.held: …`, `lock.done()`.

    Python may finalize a generator around a stage at any time, also while the thread changes the stages of the same
    attempt. Then that stage can neither end at once nor wait for the lock: it ends right after what the thread does.
    """

    __slots__ = ("_changes", "held")

    held: Any
    """The lock itself. No context manager in Python: a signal's handler may raise between any two of its lines, such
    as at a task's time limit, and the lock would be held for ever."""

    def __init__(self) -> None:
        self.held = native.reentrant_lock()
        self._changes: list[Callable[[], None]] = []

    def done(self) -> None:
        """Make the changes that came while this thread held the lock; call it after each `with lock.held`."""
        if self._changes:
            self._make_changes()

    def change(self, change: Callable[[], None]) -> None:
        """Call `change` while this thread holds the lock: now, or right after what it is doing."""
        self._changes.append(change)
        if not self.held._is_owned():
            self._make_changes()

    def _make_changes(self) -> None:
        with self.held:
            # Another thread may have made them in the meantime.
            while self._changes:
                self._changes.pop(0)()

    def after_fork(self) -> None:
        """In a forked child: no thread is left there that could release it."""
        self.held._at_fork_reinit()
