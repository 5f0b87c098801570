"""Where the running code is: the tracker and the stage of its context, in any thread or coroutine that copies it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from telltale import native
from telltale.core.progress import Stage

tracker_in_context: ContextVar[Any] = ContextVar("telltale_tracker", default=None)
"""The `Tracker` in this context, whose module imports this one; None outside of runs."""
stage_in_context: ContextVar[Stage | None] = ContextVar("telltale_stage", default=None)
"""The stage in this context, of the run of `tracker_in_context`; None outside of stages."""


@contextmanager
def in_context(tracker: Any, stage: Stage | None) -> Iterator[None]:
    """Within it, this tracker and this stage are those of the context."""
    outer = tracker_in_context.get(), stage_in_context.get()
    tracker_in_context.set(tracker)
    stage_in_context.set(stage)
    is_here = True
    try:
        yield
    except GeneratorExit:
        # A generator was left early. It may be finalized much later, in any thread, while another task runs there.
        is_here = _is_within(tracker, stage)
        raise
    finally:
        if is_here:
            # Not `reset(token)`: an async task begins and ends in two threads, each with its own copy of the context.
            tracker_in_context.set(outer[0])
            stage_in_context.set(outer[1])


def _is_within(tracker: Any, stage: Stage | None) -> bool:
    """Whether the context is that of this stage, or of one within it; without a stage: of this run."""
    here, within = tracker_in_context.get(), stage_in_context.get()
    if here is None or here._whole is not tracker._whole:
        return False
    while within is not None and within is not stage:
        within = within.parent
    return within is stage


class _ForkedContext:
    """The context of a task's thread that forks: the child has its tracker, and none of the other threads."""

    def after_fork(self) -> None:
        """In the child: no thread is left there that could release the tracker's lock."""
        tracker = tracker_in_context.get()
        if tracker is not None:
            tracker._lock.after_fork()


_forked_context = _ForkedContext()
native.call_after_fork(_forked_context)
