"""A run from its claim to its end: what runners open around a task (`attempt`), and callers anywhere (`track`).

The end is on disk before the runner moves on, and told after that. A database that is away costs the task
`END_PATIENCE_S` at its end and nothing else: it is claimed, saved and ended as soon as that works again.
Called by `dispatch/tracked.py`; knows the store, the messages and the reporter.
"""

import logging
import os
import secrets
import socket
import time
import traceback
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from random import uniform
from typing import Any, Final
from uuid import UUID

from asgiref.sync import sync_to_async
from django import db
from django.db import connections
from django.utils.translation import gettext as _

from telltale import conf, store
from telltale.core.states import State
from telltale.messages import announce
from telltale.owners import PRESENT, chosen_owner
from telltale.worker.attempts import Attempt
from telltale.worker.reporter import reporter
from telltale.worker.saver import claim
from telltale.worker.tracker import Cancelled, RunCancelled, Tracker, current, out_of_run, tracking

__all__ = ["Cancelled", "TaskError", "Verdict", "attempt", "track"]

logger = logging.getLogger(__name__)

FIRST_WAIT_S: Final = 0.05
LONGEST_WAIT_S: Final = 2.0
"""Between tries to write an end: from the first to the second, doubling."""

REFERENCE_LETTERS: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Those that survive a telephone."""

_INTERRUPTIONS: Final = (KeyboardInterrupt, SystemExit, CancelledError)

HERE: Final = "track"
"""`TaskState.runner` of what no runner runs."""


class TaskError(Exception):
    """Raise it in a task to fail with these words for people: `raise TaskError("Row 7 has no name.")`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an attempt ends, when its runner knows better than the exception alone says."""

    state: State
    """An end, or `RETRYING`."""
    due_at: float | None = None
    """When the next attempt is due, in seconds since 1970."""
    error: str | None = None
    """Words for people; None: what is said of any failure."""


@contextmanager
def attempt(
    *,
    task_id: UUID | None = None,
    runner: str | None = None,
    runner_id: str | None = None,
    verdict: Callable[[BaseException], Verdict | None] | None = None,
    make: Callable[[], Any] | None = None,
) -> Iterator[Tracker]:
    """Claim the task by its id, or by its runner's; run what is within as one attempt of it; end it.

    A cancellation leaves as `RunCancelled`, at once if it was asked for before the run began. Where the task is
    unknown or may not run again (it succeeded), what is within runs all the same and is told to nobody. `make`
    is called for a task without a row, and is to make it if nobody else does this moment.
    """
    known = task_id is not None or runner_id is not None
    ask = partial(store.claim, task_id=task_id, runner=runner, runner_id=runner_id, worker=_worker())
    if make is not None:
        ask = partial(_claim_or_make, ask, make)
    with _run(Attempt(ask if known else None), verdict) as tracker:
        yield tracker


def _claim_or_make(ask: Callable[[], store.Claim | store.Refusal], make: Callable[[], Any]) -> Any:
    answer = ask()
    if isinstance(answer, store.Refusal) and answer.state is None:
        make()
        answer = ask()
    return answer


class track:
    """`with telltale.track("Rebuild index", owner=user) as task:` shows a piece of work that no runner runs.

    For commands, threads and cron jobs; `async with` likewise. `owner`: a user, a request, an `Owner`, None
    for nobody; by default whoever the present request or task belongs to. `name`: what its usual duration
    is kept under; by default the label.
    """

    def __init__(self, label: str, *, owner: Any = PRESENT, name: str | None = None) -> None:
        self._queue = partial(store.queue, runner=HERE, name=name or str(label), label=str(label), args=None)
        self._owner = owner
        self._row: UUID | None = None
        self._open: AbstractContextManager[Tracker] | None = None

    def __enter__(self) -> Tracker:
        self._queue = partial(self._queue, owner=chosen_owner(self._owner))
        self._open = _run(Attempt(self._ask))
        return self._open.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        assert self._open is not None  # noqa: S101 (narrows the type: entered first)
        return self._open.__exit__(*error)

    async def __aenter__(self) -> Tracker:
        return await sync_to_async(self.__enter__)()

    async def __aexit__(self, *error: Any) -> bool | None:
        return await sync_to_async(self.__exit__)(*error)

    def _ask(self) -> store.Claim | store.Refusal:
        # Asked again after an outage: then the row may be there, or not.
        self._row = self._row or self._queue().task.pk
        return store.claim(task_id=self._row, worker=_worker())


@contextmanager
def _run(taken: Attempt, verdict: Callable[[BaseException], Verdict | None] | None = None) -> Iterator[Tracker]:
    _begin(taken)
    outer = current()
    with _reported(taken), tracking(taken.tracker):
        try:
            yield taken.tracker
        except GeneratorExit:
            raise  # Nobody will ever leave the block: the process ends, and the lease tells it.
        except BaseException as error:
            left = out_of_run(error)
            # A cancellation is one in every runner, also in those that would try again after any other error.
            asked = verdict(left) if verdict and not isinstance(left, Cancelled) else None
            _end(taken, asked or _verdict(left), left)
            if left is error or outer.stopping:
                raise  # A run around this one is to end too: its own block is where the cancellation leaves.
            raise left from error
        else:
            _end(taken, Verdict(state=State.SUCCEEDED))


def _begin(taken: Attempt) -> None:
    try:
        refusal = claim(taken)
    except db.Error as error:
        reporter().saver.outage.begin(error, now=time.monotonic())
        return
    if refusal is not None and (refusal.state is State.CANCELLED or refusal.is_superseded):
        announce(refusal.changed.envelopes if refusal.changed else [])
        raise RunCancelled


@contextmanager
def _reported(taken: Attempt) -> Iterator[None]:
    if taken.refused or _connection().in_atomic_block:
        # Refused; or its row is in a transaction that nobody else can see into before it commits.
        yield
        return
    mine = reporter()
    mine.add(taken)
    try:
        yield
    finally:
        mine.remove(taken)


def _verdict(error: BaseException) -> Verdict:
    if isinstance(error, Cancelled):
        return Verdict(state=State.CANCELLED)
    if isinstance(error, TaskError):
        return Verdict(state=State.FAILED, error=str(error))
    if isinstance(error, _INTERRUPTIONS):
        return Verdict(state=State.FAILED, error=_("It was stopped before it was done."))
    return Verdict(state=State.FAILED)


def _end(taken: Attempt, verdict: Verdict, error: BaseException | None = None) -> None:
    """Write the end and tell it; if the database is away for long, as soon as it is back. Never raises."""
    if taken.refused or taken.over:
        return
    write = partial(_write, taken, _ending(taken, verdict, error))
    try:
        _patiently(write)
    except Exception:
        # What the task did stands, whatever becomes of its telling; the lease ends what this could not.
        logger.exception("The end (%s) of task %s can't be written.", verdict.state, taken.id)


def _ending(taken: Attempt, verdict: Verdict, error: BaseException | None) -> Callable[[store.Claim], Any]:
    """Everything that is known now, bound to the store's call that will write it."""
    tracker = taken.tracker
    label = None if tracker.label is None else str(tracker.label)
    seq, progress = taken.finish()
    words = verdict.error
    if verdict.state is State.RETRYING:
        return lambda c: store.retrying(c.id, c.attempt, seq=seq, due_at=verdict.due_at, error=words)
    told: dict[str, Any] = {"seq": seq, "progress": progress, "label": label}
    if verdict.state is State.SUCCEEDED:
        told |= {"progress": replace(progress, fraction=1.0)}
        told |= {"result": None if tracker.result is None else str(tracker.result)}
    elif verdict.state is State.FAILED:
        told |= {"error": words or _("It didn't work.")}
        told |= {"detail": "".join(traceback.format_exception(error)) if error else ""}
        if words is None:
            told |= {"reference": "".join(secrets.choice(REFERENCE_LETTERS) for _letter in range(6))}
    if isinstance(error, _INTERRUPTIONS):
        return lambda c: _interrupted(c, verdict.state, told)
    return lambda c: store.end(c.id, c.attempt, verdict.state, is_owned=len(c.topics) > 1, **told)


def _interrupted(c: store.Claim, state: State, told: dict[str, Any]) -> store.Changed | None:
    """The process was told to stop: if somebody had asked for the task's end, that is what it was."""
    if store.is_cancel_requested(c.id):
        state, told = State.CANCELLED, {key: told[key] for key in ("seq", "progress", "label")}
    return store.end(c.id, c.attempt, state, is_owned=len(c.topics) > 1, **told)


def _write(taken: Attempt, ending: Callable[[store.Claim], store.Changed | None]) -> None:
    claim(taken)
    changed = ending(taken.claim) if taken.claim else None
    announce(changed.envelopes if changed else [])


def _patiently(write: Callable[[], None]) -> None:
    """Call `write` until it succeeds, for a while; then leave it to the saver."""
    saver = reporter().saver
    until = time.monotonic() + conf.settings().end_patience_s
    wait_s = FIRST_WAIT_S
    while True:
        connection = _connection()
        try:
            write()
        except (db.OperationalError, db.InterfaceError, db.ProgrammingError) as error:
            # The last is how some databases say that a table is not there, as while it is migrated.
            saver.outage.begin(error, now=time.monotonic())
            if connection.in_atomic_block or time.monotonic() + wait_s > until:
                saver.end_later(write)
                return
            connection.close_if_unusable_or_obsolete()
            # Not all at the same moment: when the database comes back, many workers are waiting for it.
            time.sleep(wait_s * uniform(0.5, 1.0))  # noqa: S311 (no secret)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        else:
            saver.outage.end(now=time.monotonic())
            return


def _worker() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _connection() -> Any:
    return connections[conf.settings().database]
