"""A run of a task from its claim to its end: `run_attempt` for runners, `track` for any other code.

The end is written before the runner continues, and is published after that. If the database is unavailable or hangs,
the task waits up to `END_RETRY_S` at its end, and is otherwise undisturbed: it is claimed, saved and ended as soon as
the database works again. In a transaction that the site opened around the task, all of this happens outside of it
(`outside.py`). `dispatch/tracked.py` calls `run_attempt`.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid4

from asgiref.sync import sync_to_async
from django import db
from django.db import connections

from telltale import conf, store, tracing
from telltale.core.states import State
from telltale.messages import announce
from telltale.owners import CURRENT_OWNER, resolve_owner
from telltale.worker.attempt import Attempt
from telltale.worker.cancelled import Cancelled, RunCancelled, out_of_run
from telltale.worker.current import current, tracking
from telltale.worker.ending import Verdict, end_abandoned, end_attempt, interrupted, is_interruption, text_of
from telltale.worker.outside import can_write_outside, run_outside
from telltale.worker.reporter import reporter
from telltale.worker.saver import REJECTED
from telltale.worker.tracker import Tracker

__all__ = ["Cancelled", "TaskError", "Verdict", "run_attempt", "track"]

logger = logging.getLogger(__name__)

TRACK: Final = "track"
"""The value of `TaskState.runner` for work without a runner."""


class TaskError(Exception):
    """Raise it in a task to fail with a text for people: `raise TaskError("Row 7 has no name.")`."""


ErrorToVerdict = Callable[[BaseException], Verdict | None]
"""Such as `Runner.verdict`; None leaves the verdict to the exception."""


@contextmanager
def run_attempt(
    *,
    task_id: UUID | None = None,
    runner: str | None = None,
    runner_id: str | None = None,
    name: str | None = None,
    verdict: ErrorToVerdict | None = None,
    create_row: Callable[[], object] | None = None,
    at_most_once: bool = False,
) -> Iterator[Tracker]:
    """Run the block as one attempt of the task with this id, or with its runner's id: claim it, and write its end.

    A cancellation leaves as `RunCancelled`; it is raised at once if it was requested before the run began. If there is
    no such task, or it may not run again (it succeeded), the block runs without publishing anything. `create_row` is
    called if the task has no row; it must not raise if another process creates the row first. `at_most_once`: unless
    the task is queued, `RunCancelled` is raised and the block does not run. `runner`, `runner_id`, `name`: those of
    the message; a row of another task, which a forged message may name, is left alone.
    """
    attempt = Attempt(
        task_id=task_id,
        runner=runner,
        runner_id=runner_id,
        name=name,
        create_row=create_row,
        at_most_once=at_most_once,
    )
    with _run(attempt, verdict) as tracker:
        yield tracker


class track:
    """`with telltale.track("Rebuild index", owner=user) as task:` shows a piece of work that no runner runs.

    For commands, threads and cron jobs; `async with` works too. `owner`: a user, a request, an `Owner`, or None for no
    owner; by default the owner of the current request or task. `name`: the name under which the usual duration is
    stored; by default the label.
    """

    def __init__(self, label: str, *, owner: Any = CURRENT_OWNER, name: str | None = None) -> None:
        self._label = str(label)
        self._owner = owner
        self._name = name or self._label
        self._run: AbstractContextManager[Tracker] | None = None

    def __enter__(self) -> Tracker:
        task_id = uuid4()
        create_row = partial(
            store.queue,
            task_id=task_id,
            runner=TRACK,
            name=self._name,
            label=self._label,
            args=None,
            owner=resolve_owner(self._owner),
        )
        self._run = _run(Attempt(task_id=task_id, create_row=create_row))
        return self._run.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        assert self._run is not None  # noqa: S101 (narrows the type: `__enter__` set it)
        return self._run.__exit__(*error)

    async def __aenter__(self) -> Tracker:
        return await sync_to_async(self.__enter__)()

    async def __aexit__(self, *error: Any) -> bool | None:
        return await sync_to_async(self.__exit__)(*error)


@contextmanager
def _run(attempt: Attempt, verdict: ErrorToVerdict | None = None) -> Iterator[Tracker]:
    _begin(attempt)
    outer = current()
    joined = attempt.claim.trace if attempt.claim else None
    with tracing.run_span(joined, attempt.tracker.run) as span, _reported(attempt), tracking(attempt.tracker):
        try:
            yield attempt.tracker
        except GeneratorExit:
            raise  # `_reported` has the attempt ended: nothing can be written here.
        except BaseException as error:
            outside_error = out_of_run(error)
            # A cancellation is one for every runner, also for one that would retry after any other error.
            runner_verdict = None if isinstance(outside_error, Cancelled) else _ask_runner(verdict, outside_error)
            ending = runner_verdict or _verdict_of(outside_error)
            span.end(ending.state.value, outside_error)
            end_attempt(attempt, ending, outside_error)
            if outside_error is error or outer.stopping:
                raise  # If the run around this one is cancelled too, the cancellation goes on to the outer block.
            raise outside_error from error
        else:
            span.end(State.SUCCEEDED.value, None)
            end_attempt(attempt, Verdict(state=State.SUCCEEDED))


def _begin(attempt: Attempt) -> None:
    try:
        with store.time_limit():
            refusal = _claim(attempt)
    except store.RowLocked:
        return  # The row is in a transaction of the publisher; the saver claims it after that.
    except REJECTED:
        attempt.log_once("It can't be claimed")
        attempt.is_refused = True
        return
    except db.Error as error:
        reporter().saver.outage.begin(error, now=time.monotonic())
        return
    except Exception:
        attempt.log_once("It can't be shown")
        attempt.is_refused = True
        return
    if refusal is not None and (refusal.state is State.CANCELLED or refusal.is_superseded):
        announce(refusal.changed.envelopes if refusal.changed else [])
        raise RunCancelled


def _claim(attempt: Attempt) -> store.Refusal | None:
    if not can_write_outside() or attempt.is_refused:
        return attempt.try_claim()
    attempt.is_outside = True  # Also if the database can't be asked now.
    # A row that only this transaction can see was created in it, so it is claimed and ended in it as well.
    refusal = run_outside(partial(attempt.try_claim, must_exist=attempt.row_exists()))
    if refusal is not None or attempt.claim is not None:
        return refusal
    attempt.is_outside = False
    return attempt.try_claim()


@contextmanager
def _reported(attempt: Attempt) -> Iterator[None]:
    """Have the reporter publish the attempt's progress within the block."""
    if attempt.is_refused or (_connection().in_atomic_block and not attempt.is_outside):
        # Refused; or the row belongs to a transaction that no other connection can read before it commits.
        yield
        return
    process_reporter = reporter()
    process_reporter.add(attempt)
    try:
        yield
    except GeneratorExit:
        # A generator around the run was left early, such as that of a streamed response.
        process_reporter.saver.call_soon(partial(end_abandoned, attempt))
        raise
    finally:
        process_reporter.remove(attempt)


def _ask_runner(verdict: ErrorToVerdict | None, error: BaseException) -> Verdict | None:
    try:
        return verdict(error) if verdict is not None else None
    except Exception:
        # A runner may call the site's code, such as a hook that says whether to retry. The task's own error goes on.
        logger.exception("The runner can't say how a run ends; it has failed.")
        return None


def _verdict_of(error: BaseException) -> Verdict:
    if isinstance(error, Cancelled):
        return Verdict(state=State.CANCELLED)
    if isinstance(error, TaskError):
        return Verdict(state=State.FAILED, error=text_of(error))
    if is_interruption(error):
        return interrupted()
    return Verdict(state=State.FAILED)


def _connection() -> Any:
    return connections[conf.settings().database]
