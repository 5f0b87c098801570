"""A run of a task from its claim to its end: `run_attempt` for runners, `track` for any other code.

The end is written before the runner continues, and is published after that. If the database is unavailable or hangs,
the task waits up to `END_RETRY_S` at its end, and is otherwise undisturbed: it is claimed, saved and ended as soon as
the database works again. In a transaction that the site opened around the task, all of this happens outside of it
(`outside.py`). `dispatch/tracked.py` calls `run_attempt`.
"""

import logging
import secrets
import time
import traceback
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from random import uniform
from typing import Any, Final
from uuid import UUID, uuid4

from asgiref.sync import sync_to_async
from django import db
from django.db import connections, transaction
from django.utils.translation import gettext as _

from telltale import conf, store
from telltale.core.states import State
from telltale.messages import announce
from telltale.owners import CURRENT_OWNER, resolve_owner
from telltale.worker.attempt import Attempt
from telltale.worker.outside import can_write_outside, end_if_rolled_back, is_in_site_transaction, run_outside
from telltale.worker.reporter import reporter
from telltale.worker.saver import REJECTED
from telltale.worker.tracker import Cancelled, RunCancelled, Tracker, current, out_of_run, tracking

__all__ = ["Cancelled", "TaskError", "Verdict", "run_attempt", "track"]

logger = logging.getLogger(__name__)

FIRST_WAIT_S: Final = 0.05
LONGEST_WAIT_S: Final = 2.0
"""The time between two tries to write an end: it begins at the first and doubles up to the second."""

REFERENCE_LETTERS: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""The characters of an error's reference: none is mistaken for another when it is read aloud."""

TRACK: Final = "track"
"""The value of `TaskState.runner` for work without a runner."""

_INTERRUPTIONS: Final = (KeyboardInterrupt, SystemExit, CancelledError)
_KILLED_GREENLET: Final = "GreenletExit"
"""The exception that ends a greenlet by force. By name, because gevent need not be installed."""


class TaskError(Exception):
    """Raise it in a task to fail with a text for people: `raise TaskError("Row 7 has no name.")`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an attempt ends, if its runner knows more than the exception says."""

    state: State
    """One of the ends, or `RETRYING`."""
    due_at: float | None = None
    """When the next attempt is due, in seconds since 1970; None if unknown."""
    error: str | None = None
    """A text for people; None for the usual text of a failure."""


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
    with _reported(attempt), tracking(attempt.tracker):
        try:
            yield attempt.tracker
        except GeneratorExit:
            raise  # The block will never be left: the process ends, and the lease ends the attempt.
        except BaseException as error:
            outside_error = out_of_run(error)
            # A cancellation is one for every runner, also for one that would retry after any other error.
            runner_verdict = None if isinstance(outside_error, Cancelled) else _ask_runner(verdict, outside_error)
            _end(attempt, runner_verdict or _verdict_of(outside_error), outside_error)
            if outside_error is error or outer.stopping:
                raise  # If the run around this one is cancelled too, the cancellation goes on to the outer block.
            raise outside_error from error
        else:
            _end(attempt, Verdict(state=State.SUCCEEDED))


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
        return Verdict(state=State.FAILED, error=_text(error))
    if _is_interruption(error):
        return Verdict(state=State.FAILED, error=_("The task was stopped before it finished."))
    return Verdict(state=State.FAILED)


def _is_interruption(error: BaseException | None) -> bool:
    return isinstance(error, _INTERRUPTIONS) or type(error).__name__ == _KILLED_GREENLET


# The end


def _end(attempt: Attempt, verdict: Verdict, error: BaseException | None = None) -> None:
    """Write the end and publish it; if the database stays unavailable, as soon as it works again. Never raises."""
    if attempt.is_refused or attempt.is_over:
        return
    state, fields = _prepare_end(attempt, verdict, error)
    write_end = partial(_write_end, attempt, partial(_write_state, state, fields, error))
    is_outside = attempt.is_outside and _connection().in_atomic_block
    if is_outside and state is State.SUCCEEDED:
        # If it is rolled back, the work is not done: then the lease ends the attempt.
        transaction.on_commit(partial(_write_or_log, attempt, state, write_end), using=conf.settings().database)
        return
    _write_or_log(attempt, state, write_end, is_outside=is_outside)
    if error is not None and state is not State.RETRYING and not is_outside and is_in_site_transaction():
        reporter().saver.end_later(partial(end_if_rolled_back, attempt, state, fields))


def _write_or_log(attempt: Attempt, state: State, write_end: Callable[[], None], *, is_outside: bool = False) -> None:
    try:
        _write_patiently(write_end, is_outside=is_outside)
    except Exception:
        # The task's work is done, whether its end can be written or not. The lease ends the attempt.
        logger.exception("The end (%s) of task %s can't be written.", state, attempt.id)


def _write_end(attempt: Attempt, write: Callable[[store.Claim], store.Changed | None]) -> None:
    attempt.try_claim()
    claim = attempt.claim
    if claim is None:
        return
    changed = write(claim)
    if changed is None:
        # It may have been presumed lost. If it was, by this thread or the saver's, it has a new claim.
        attempt.take_back(claim, is_ending=True)
        changed = write(attempt.claim) if attempt.claim and attempt.claim is not claim else None
    announce(changed.envelopes if changed else [])


def _prepare_end(attempt: Attempt, verdict: Verdict, error: BaseException | None) -> tuple[State, dict[str, Any]]:
    """Finish the attempt; returns its end as it is known now: the state, and the fields to write."""
    tracker = attempt.tracker
    label = _text(tracker.label)
    if verdict.state is State.SUCCEEDED:
        tracker.forget_place()
    seq, progress = attempt.finish()
    fields: dict[str, Any] = {"seq": seq, "progress": progress, "label": label}
    if verdict.state is State.RETRYING:
        fields |= {"due_at": verdict.due_at, "error": verdict.error}
    elif verdict.state is State.SUCCEEDED:
        fields["progress"] = replace(progress, fraction=1.0)
        fields["result"] = _text(tracker.result)
        fields["return_json"] = tracker.return_json
    elif verdict.state is State.FAILED:
        fields |= _failure_fields(verdict, error)
    return verdict.state, fields


def _text(value: object) -> str | None:
    """The value as text; None for None, and for an object that can't be converted: a task may set anything."""
    try:
        return None if value is None else str(value)
    except Exception:
        logger.exception("A text of a task is left out: its %s can't be converted.", type(value).__name__)
        return None


def _failure_fields(verdict: Verdict, error: BaseException | None) -> dict[str, Any]:
    fields = {
        "error": verdict.error or _("An unexpected error occurred."),
        "detail": "".join(traceback.format_exception(error)) if error else "",
    }
    if verdict.error is None:
        # The text does not explain the error, so people get a reference by which staff find the detail.
        fields["reference"] = "".join(secrets.choice(REFERENCE_LETTERS) for _letter in range(6))
    return fields


def _write_state(
    state: State, fields: dict[str, Any], error: BaseException | None, claim: store.Claim
) -> store.Changed | None:
    if _is_interruption(error) and state is not State.RETRYING and store.is_cancel_requested(claim.id):
        # The process was stopped, and the cancellation had been requested before.
        state, fields = State.CANCELLED, {name: fields[name] for name in ("seq", "progress", "label")}
    if state is State.RETRYING:
        return store.set_retrying(claim.id, claim.attempt, **fields)
    end = partial(store.end, claim.id, claim.attempt, state, is_owned=len(claim.topics) > 1)
    try:
        return end(**fields)
    except REJECTED:
        if _connection().in_atomic_block:
            raise
        logger.exception("The last progress of task %s can't be written; its end (%s) is.", claim.id, state)
        return end(seq=fields["seq"])


def _write_patiently(write_end: Callable[[], None], *, is_outside: bool = False) -> None:
    """Call `write_end` until it succeeds, for up to `END_RETRY_S`; then leave it to the saver.

    Whatever the driver raises: while a database fails over, it may be an error of almost any class. `is_outside`: as
    in `outside.py`.
    """
    saver = reporter().saver
    deadline = time.monotonic() + conf.settings().end_retry_s
    wait_s = FIRST_WAIT_S
    while True:
        connection = _connection()
        try:
            if is_outside:
                run_outside(write_end)
            else:
                with store.time_limit(min(store.CALL_S, max(FIRST_WAIT_S, deadline - time.monotonic()))):
                    write_end()
        except REJECTED:
            raise
        except store.RowLocked:
            saver.end_later(write_end)  # The runner does not wait for the publisher's transaction.
            return
        except Exception as error:
            saver.outage.begin(error, now=time.monotonic())
            is_inside = connection.in_atomic_block and not is_outside
            if is_inside or time.monotonic() + wait_s > deadline:
                saver.end_later(write_end)
                return
            if not connection.in_atomic_block:
                connection.close()  # The next one may lead to another server.
            # At a random time: many workers wait for the database to come back.
            time.sleep(wait_s * uniform(0.5, 1.0))  # noqa: S311 (no secret)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        else:
            saver.outage.end(now=time.monotonic())
            return


def _connection() -> Any:
    return connections[conf.settings().database]
