"""The saver: one thread a worker process that talks to the store for all running attempts.

It saves what the reporter told, many attempts in each transaction, which renews their leases; it claims what
could not be claimed when it began, prunes, and writes ends that outlasted the task's own patience. Each of these
gives way to the next after a second, and between two transactions to whoever waits for the database: with ten
thousand attempts no lease lapses because others are being seen to. An outage of the database is logged when it
begins and when it ends, and costs no task anything. `reporter.py` owns it.
"""

import atexit
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from operator import attrgetter
from random import uniform
from typing import Final, TypeVar

from django import db
from django.db import connections

from telltale import conf, native, store
from telltale.core.outage import Outage
from telltale.messages import announce
from telltale.worker.attempts import Attempt

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_S: Final = 0.25
"""How often it is seen whether something is to be saved, while anything runs."""

SLICE_S: Final = 1.0
"""How long it may be at one kind of work before it looks at the others."""

GIVE_WAY_S: Final = 0.05
"""The longest pause between two transactions where one writer locks out all others: as long as the last one took."""

AGAIN_S: Final = 1.0
"""Between two tries while the database is away."""

LAST_TRY_S: Final = 5.0
"""How long a process that exits still tries to write ends."""

REJECTED: Final = (db.DataError, db.IntegrityError, TypeError, ValueError, OverflowError)
"""How it is said that the database is there, but refuses what it was given."""


class Saver:
    """Of this process. `attempts` tells what runs."""

    def __init__(self, attempts: Callable[[], list[Attempt]]) -> None:
        self.outage = Outage(logger, "Writing to the database", "Tasks go on; what people see catches up.")
        self._attempts = attempts
        self._ends: deque[Callable[[], None]] = deque()
        self._some = native.Event()
        self._start = native.lock()
        self._is_started = False
        self._prune_at = time.monotonic() + (conf.settings().prune_every_s or 0.0) * uniform(0.0, 1.0)  # noqa: S311

    def wake(self) -> None:
        """There is something to see to."""
        with self._start:
            if not self._is_started:
                self._is_started = True
                native.start_thread(self._work, name="telltale-saver")
        self._some.set()

    def end_later(self, write: Callable[[], None]) -> None:
        """Call `write` until the database lets it."""
        if not self._ends:
            atexit.register(self._write_last_ends)
        self._ends.append(write)
        self.wake()

    def _work(self) -> None:
        while True:
            if not self._attempts() and not self._ends:
                self._rest()
            native.sleep(LOOK_S if self._round() else AGAIN_S)

    def _rest(self) -> None:
        self._some.clear()
        if not self._attempts() and not self._ends:
            # An idle worker holds no connection of ours.
            connections[conf.settings().database].close()
            self._some.wait()

    def _round(self) -> bool:
        """See to all that is due; False if the database is away."""
        try:
            connections[conf.settings().database].close_if_unusable_or_obsolete()
            self._save()
            self._claim()
            self._write_ends()
            self._prune()
        except db.Error as error:
            self.outage.begin(error, now=time.monotonic())
            return False
        except Exception:
            logger.exception("Saving what runs failed; it is tried again.")
            return False
        return True

    def _claim(self) -> None:
        for attempt in time_slice(a for a in self._attempts() if a.claim is None and not a.refused):
            try:
                claim(attempt)
            except REJECTED:
                attempt.complain("It can't be claimed")
                attempt.refused = True
            self.outage.end(now=time.monotonic())

    def _save(self) -> None:
        every_s, now = conf.settings().save_every_s, store.now()
        due = [attempt for attempt in self._attempts() if attempt.is_due(now=now, save_every_s=every_s)]
        # The longest unsaved first: whoever is left over when the spell ends is not so again.
        due.sort(key=attrgetter("saved_at"))
        for first in time_slice(range(0, len(due), store.SAVED_AT_ONCE)):
            began_at = time.monotonic()
            self._save_some([(a, r) for a in due[first : first + store.SAVED_AT_ONCE] if (r := a.report())])
            self.outage.end(now=time.monotonic())
            if connections[conf.settings().database].vendor == "sqlite":
                native.sleep(min(GIVE_WAY_S, time.monotonic() - began_at))

    def _save_some(self, due: Sequence[tuple[Attempt, store.Report]]) -> None:
        """Save these; if one among them can't be, all the others, and renew its lease."""
        now = store.now()
        try:
            verdicts = store.save([report for _, report in due])
        except REJECTED:
            if len(due) > 1:
                self._save_some(due[: len(due) // 2])
                self._save_some(due[len(due) // 2 :])
                return
            [(attempt, report)] = due
            attempt.complain("Its progress can't be saved")
            verdicts = store.save([replace(report, is_beat=True)])
        for (attempt, report), verdict in zip(due, verdicts, strict=True):
            attempt.saved(report, verdict, now=now)

    def _write_ends(self) -> None:
        for write in time_slice(self._ends.copy()):
            try:
                write()
            except REJECTED:
                logger.exception("The end of a task can't be written; its lease will end it.")
            self.outage.end(now=time.monotonic())
            with suppress(ValueError):  # when the process exits, two threads may write one
                self._ends.remove(write)

    def _prune(self) -> None:
        every_s = conf.settings().prune_every_s
        if every_s is None or time.monotonic() < self._prune_at:
            return
        # Not all processes at one moment, and none as soon as it starts.
        self._prune_at = time.monotonic() + every_s * uniform(0.5, 1.0)  # noqa: S311 (no secret)
        for changed in store.prune().given_up:
            announce(changed.envelopes)

    def _write_last_ends(self) -> None:
        until = time.monotonic() + LAST_TRY_S
        while self._ends and time.monotonic() < until:
            try:
                self._write_ends()
            except db.Error:
                time.sleep(AGAIN_S)


def time_slice(work: Iterable[T]) -> Iterator[T]:
    """Of `work`, as much as a spell of `SLICE_S` allows: at least one, if there is any."""
    until = time.monotonic() + SLICE_S
    for one in work:
        yield one
        if time.monotonic() > until:
            return


def claim(attempt: Attempt) -> store.Refusal | None:
    """Ask the store, once, for the right to run it; its refusal, or None. Raises `db.Error` while that is away."""
    with attempt.asking:
        if attempt.claim is not None or attempt.refused or attempt.ask is None:
            return None
        answer = attempt.ask()
        if isinstance(answer, store.Refusal):
            attempt.refused = True
            return answer
        attempt.begin(answer, save_every_s=conf.settings().save_every_s)
        return None
