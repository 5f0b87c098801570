"""The end of an attempt: what it says, and how it is written until that is decided.

The runner waits for the end to be written, for up to `END_RETRY_S`, whatever error the driver raises and however long
the database hangs. What remains is left to the saver, and at the process's exit to the spool. `run.py` calls it.
"""

import logging
import secrets
import time
import traceback
from asyncio import CancelledError
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from random import uniform
from typing import Any, Final

from django.db import connections, transaction
from django.utils.translation import gettext as _

from telltale import conf, store
from telltale.core.states import State
from telltale.messages import announce
from telltale.worker.attempt import Attempt
from telltale.worker.counts import counts
from telltale.worker.outside import end_if_rolled_back, is_in_site_transaction, run_outside
from telltale.worker.reporter import reporter
from telltale.worker.saver import REJECTED, PendingEnd
from telltale.worker.spool import SpooledEnd

logger = logging.getLogger(__name__)

FIRST_WAIT_S: Final = 0.05
LONGEST_WAIT_S: Final = 2.0
"""The time between two tries to write an end: it begins at the first and doubles up to the second."""

REFERENCE_LETTERS: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""The characters of an error's reference: none is mistaken for another when it is read aloud."""

_INTERRUPTIONS: Final = (KeyboardInterrupt, SystemExit, CancelledError, GeneratorExit)
_KILLED_GREENLET: Final = "GreenletExit"
"""The exception that ends a greenlet by force. By name, because gevent need not be installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an attempt ends, if its runner knows more than the exception says."""

    state: State
    """One of the ends, or `RETRYING`."""
    due_at: float | None = None
    """When the next attempt is due, in seconds since 1970; None if unknown."""
    error: str | None = None
    """A text for people; None for the usual text of a failure."""


def is_interruption(error: BaseException | None) -> bool:
    """Whether the error stops the process, thread, greenlet or generator of the task."""
    return isinstance(error, _INTERRUPTIONS) or type(error).__name__ == _KILLED_GREENLET


def end_attempt(attempt: Attempt, verdict: Verdict, error: BaseException | None = None) -> None:
    """Write the end and publish it; if the database stays unavailable, as soon as it works again. Never raises."""
    if attempt.is_refused or attempt.is_over:
        return
    state, fields = _prepare_end(attempt, verdict, error)
    counts()[f"ended {state.value}"] += 1
    write_end = _pending_end(attempt, state, fields, error)
    is_outside = attempt.is_outside and _connection().in_atomic_block
    if is_outside and state is State.SUCCEEDED:
        # If it is rolled back, the work is not done: then the lease ends the attempt.
        transaction.on_commit(partial(_write_or_log, attempt, state, write_end), using=conf.settings().database)
        return
    _write_or_log(attempt, state, write_end, is_outside=is_outside)
    if error is not None and state is not State.RETRYING and not is_outside and is_in_site_transaction():
        reporter().saver.end_later(partial(end_if_rolled_back, attempt, state, fields))


def end_abandoned(attempt: Attempt) -> None:
    """End an attempt in a generator that was left early. Called by the saver's thread.

    Python may finalize a generator in any thread, at any time, also while that thread uses the database.
    """
    if attempt.is_refused or attempt.is_over:
        return
    error = GeneratorExit()
    state, fields = _prepare_end(attempt, interrupted(), error)
    counts()[f"ended {state.value}"] += 1
    reporter().saver.end_later(_pending_end(attempt, state, fields, error))


def interrupted() -> Verdict:
    """How an attempt ends that an interruption has left."""
    return Verdict(state=State.FAILED, error=_("The task was stopped before it finished."))


def _pending_end(attempt: Attempt, state: State, fields: dict[str, Any], error: BaseException | None) -> PendingEnd:
    return PendingEnd(
        write=partial(_write_end, attempt, partial(_write_state, state, fields, error)),
        to_spool=partial(_to_spool, attempt, state, fields),
    )


def _to_spool(attempt: Attempt, state: State, fields: dict[str, Any]) -> SpooledEnd:
    task_id, runner, runner_id = attempt.row_key
    return SpooledEnd(
        task_id=None if task_id is None else str(task_id),
        runner=runner,
        runner_id=runner_id,
        attempt=attempt.claim.attempt if attempt.claim else None,
        state=state.value,
        fields=fields,
    )


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
    label = text_of(tracker.label)
    if verdict.state is State.SUCCEEDED:
        tracker.forget_place()
    seq, progress = attempt.finish()
    fields: dict[str, Any] = {"seq": seq, "progress": progress, "label": label}
    if stage_times := tracker.stage_times():
        fields["stage_times"] = stage_times
    if verdict.state is State.RETRYING:
        fields |= {"due_at": verdict.due_at, "error": verdict.error}
    elif verdict.state is State.SUCCEEDED:
        fields["progress"] = replace(progress, fraction=1.0)
        fields["result"] = text_of(tracker.result)
        fields["return_json"] = tracker.return_json
    elif verdict.state is State.FAILED:
        fields |= _failure_fields(verdict, error)
    return verdict.state, fields


def text_of(value: object) -> str | None:
    """The value as text; None for None, and for an object that can't be converted: a task may set anything."""
    try:
        return None if value is None else str(value)
    except Exception:
        logger.exception("A text of a task is left out: its %s can't be converted.", type(value).__name__)
        return None


def _failure_fields(verdict: Verdict, error: BaseException | None) -> dict[str, Any]:
    fields = {
        "error": verdict.error or _("An unexpected error occurred."),
        "detail": _traceback_of(error) if error is not None else "",
    }
    if verdict.error is None:
        # The text does not explain the error, so people get a reference by which staff find the detail.
        fields["reference"] = "".join(secrets.choice(REFERENCE_LETTERS) for _letter in range(6))
    return fields


def _traceback_of(error: BaseException) -> str:
    """The traceback, also of an exception that Python can't format, such as a `SyntaxError` with wrong arguments."""
    try:
        return "".join(traceback.format_exception(error))
    except Exception:
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        # Without the traceback of this: it would end with the exception that can't be formatted.
        logger.warning("The exception of a task, a %s, can't be converted to text.", kind)
        frames = traceback.walk_tb(error.__traceback__)
        places = [
            f"File {frame.f_code.co_filename!r}, line {line}, in {frame.f_code.co_name}" for frame, line in frames
        ]
        return "\n".join([*places, kind])


def _write_state(
    state: State, fields: dict[str, Any], error: BaseException | None, claim: store.Claim
) -> store.Changed | None:
    if is_interruption(error) and state is not State.RETRYING and store.is_cancel_requested(claim.id):
        # The process was stopped, and the cancellation had been requested before.
        names = ("seq", "progress", "label", "stage_times")
        state, fields = State.CANCELLED, {name: fields[name] for name in names if name in fields}
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
