"""The saver: one thread a worker process that talks to the store for all running attempts.

It saves what the reporter told, all attempts in one transaction, which renews their leases; it claims what
could not be claimed when it began, prunes, and writes ends that outlasted the task's own patience. An outage of
the database is logged when it begins and when it ends, and costs no task anything. `reporter.py` owns it.
"""

import atexit
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from random import uniform
from typing import Final

from django import db
from django.db import connections

from telltale import conf, native, store
from telltale.core.outage import Outage
from telltale.messages import announce
from telltale.worker.attempts import Attempt

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.25
"""How often it is seen whether something is to be saved, while anything runs."""

AGAIN_S: Final = 1.0
"""Between two tries while the database is away."""

LAST_TRY_S: Final = 5.0
"""How long a process that exits still tries to write ends."""


class Saver:
    """Of this process. `attempts` tells what runs."""

    def __init__(self, attempts: Callable[[], list[Attempt]]) -> None:
        self.outage = Outage(logger, "Writing to the database", "Tasks go on; what people see catches up.")
        self._attempts = attempts
        self._ends: list[Callable[[], None]] = []
        self._some = native.Signal()
        self._start = native.lock()
        self._is_started = False
        self._prune_at = time.monotonic() + (conf.settings().prune_every_s or 0.0) * uniform(0.0, 1.0)  # noqa: S311

    def wake(self) -> None:
        """There is something to see to."""
        with self._start:
            if not self._is_started:
                self._is_started = True
                native.start(self._work, name="telltale-saver")
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
            self._claim()
            self._save()
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
        for attempt in self._attempts():
            if attempt.claim is None and not attempt.refused:
                claim(attempt)
                self.outage.end(now=time.monotonic())

    def _save(self) -> None:
        every = conf.settings().save_every_s
        now = store.now()
        due = [(a, r) for a in self._attempts() if (r := a.report(now=now, save_every_s=every))]
        if not due:
            return
        verdicts = store.save([report for _, report in due])
        self.outage.end(now=time.monotonic())
        for (attempt, report), verdict in zip(due, verdicts, strict=True):
            attempt.saved(report, verdict, now=now)

    def _write_ends(self) -> None:
        while self._ends:
            self._ends[0]()
            self.outage.end(now=time.monotonic())
            del self._ends[0]

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
            with suppress(db.Error):
                self._write_ends()
                break
            time.sleep(AGAIN_S)


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
