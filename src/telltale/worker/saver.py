"""The saver: one thread in each worker process that does the background work with the store for all running attempts.

It saves what the reporter published, many attempts in each transaction, which also renews their leases. It claims the
attempts that could not be claimed when they began, writes ends that could not be written in time, and prunes. Each
kind of work gets `SLICE_S` before the next, and a short pause follows each transaction, so with ten thousand attempts
no lease expires because the saver is busy with other work. An outage of the database is logged when it begins and when
it ends, and no task fails because of it. `reporter.py` owns the saver.
"""

import atexit
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import attrgetter
from random import uniform
from typing import Any, Final, TypeVar

from django import db
from django.db import connections

from telltale import conf, native, store
from telltale.core.outage import Outage
from telltale.core.states import State
from telltale.messages import announce
from telltale.worker import spool
from telltale.worker.attempt import Attempt
from telltale.worker.counts import counts
from telltale.worker.spool import SpooledEnd

logger = logging.getLogger(__name__)

T = TypeVar("T")

CHECK_EVERY_S: Final = 0.25
"""The time between two checks whether anything is due, while anything runs."""

SLICE_S: Final = 1.0
"""How long the saver does one kind of work before it goes on to the next."""

MAX_PAUSE_S: Final = 0.05
"""The longest pause after a transaction on SQLite, where one writer locks out all others."""

RETRY_S: Final = 1.0
"""The time between two tries while the database is unavailable."""

EXIT_PATIENCE_S: Final = 5.0
"""How long a process that exits tries to write the remaining ends."""

SPOOL_EVERY_S: Final = 10.0
"""The time between two looks into the spool, while anything runs."""

PRUNE_S: Final = 60.0
"""The time limit for pruning, which deletes up to some thousand rows."""

REJECTED: Final = (db.DataError, db.IntegrityError, TypeError, ValueError, OverflowError)
"""The errors that say that the database works but rejects the values."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PendingEnd:
    """The end of an attempt that is still to be written."""

    write: Callable[[], None]
    to_spool: Callable[[], SpooledEnd]
    """Returns what another process needs to write it."""

    def __call__(self) -> None:
        """Write it."""
        self.write()


class Saver:
    """One for each process. `attempts` returns the running attempts; `start_reporter` starts the reporter's thread."""

    def __init__(self, attempts: Callable[[], list[Attempt]], start_reporter: Callable[[], bool] = bool) -> None:
        self.clock_offset_s = time.time() - time.monotonic()
        """The store's clock minus the monotonic clock, as last measured; before that, this machine's."""
        self.outage = Outage(logger, "Writing to the database", "Tasks go on; what people see catches up.")
        self._attempts = attempts
        self._ends: deque[Callable[[], None]] = deque()
        """Functions that each write the end of one attempt."""
        self._calls: deque[Callable[[], None]] = deque()
        """What other threads have this one do."""
        self._maybe_cancelled: dict[int, Attempt] = {}
        """Attempts of which the broker said that they are to be cancelled, by their `id()`."""
        self._read_spool_at = 0.0
        """When to look into the spool again, by the monotonic clock: at the first work, too."""
        self._has_work = native.Event()
        self._is_urgent = native.Event()
        """Set when the thread must not wait for its next round."""
        self._thread = native.LazyThread(self._work, "telltale-saver")
        self._start_reporter = start_reporter
        self._prune_at = time.monotonic() + (conf.settings().prune_every_s or 0.0) * uniform(0.0, 1.0)  # noqa: S311

    def measure_clock(self) -> float:
        """Measure the clock, and return the time by the store's clock."""
        now = store.now()
        self.clock_offset_s = now - time.monotonic()
        return now

    def wake(self) -> None:
        """Have the thread work, now that an attempt runs or an end is to be written."""
        self.start()
        self._has_work.set()

    def start(self) -> bool:
        """Start the thread, unless it runs; False if the system has none to give at the moment."""
        return self._thread.start()

    def end_later(self, write_end: Callable[[], None]) -> None:
        """Call `write_end` until the database accepts it."""
        if not self._ends:
            atexit.register(self.write_last_ends)
        self._ends.append(write_end)
        self.wake()

    def call_soon(self, function: Callable[[], None]) -> None:
        """Have the thread, which saves an attempt at the moment, call `function`. Takes no lock."""
        self._calls.append(function)

    def check_cancellation(self, attempt: Attempt) -> None:
        """Stop the attempt soon, if the store says so too: the broker's message may be forged or a repetition."""
        self._maybe_cancelled[id(attempt)] = attempt
        self._is_urgent.set()
        self.wake()

    @property
    def waiting_ends(self) -> int:
        """How many ends the database has not accepted yet."""
        return len(self._ends)

    def _work(self) -> None:
        while True:
            if self._is_idle():
                self._wait_for_work()
            self._is_urgent.clear()
            self._start_reporter()
            if self._run_once():
                self._is_urgent.wait(CHECK_EVERY_S)
            else:
                native.sleep(RETRY_S)

    def _is_idle(self) -> bool:
        return not self._attempts() and not self._ends and not self._calls

    def _wait_for_work(self) -> None:
        self._has_work.clear()
        if self._is_idle():
            _connection().close()  # An idle worker holds no connection for the saver.
            self._has_work.wait()

    def _run_once(self) -> bool:
        """Do everything that is due; False if the database is unavailable."""
        try:
            _connection().close_if_unusable_or_obsolete()
            while self._calls:
                self._calls.popleft()()
            self._check_cancellations()
            self._save()
            self._claim()
            self.write_ends()
            self._read_spool()
            self._prune()
        except db.Error as error:
            self.outage.begin(error, now=time.monotonic())
            _connection().close()  # The next one may lead to another server.
            return False
        except Exception:
            logger.exception("Saving the progress of tasks failed; it is tried again.")
            return False
        return True

    def _check_cancellations(self) -> None:
        for key, attempt in time_slice(list(self._maybe_cancelled.items())):
            del self._maybe_cancelled[key]  # Before the read: a request that comes meanwhile is another.
            try:
                with store.time_limit():
                    if attempt.claim is not None and store.is_cancel_requested(attempt.claim.id):
                        attempt.tracker.request_cancel()
            except Exception:
                self._maybe_cancelled[key] = attempt
                raise

    def _save(self) -> None:
        every_s, now = conf.settings().save_every_s, self.measure_clock()
        due = [attempt for attempt in self._attempts() if attempt.is_save_due(now=now, save_every_s=every_s)]
        # Those saved longest ago come first, so that those left over at the end of this slice lead the next one.
        due.sort(key=attrgetter("saved_at"))
        for start in time_slice(range(0, len(due), store.SAVED_AT_ONCE)):
            began_at = time.monotonic()
            batch = due[start : start + store.SAVED_AT_ONCE]
            with store.time_limit():
                self._save_batch([(attempt, report) for attempt in batch if (report := attempt.report())])
            self.outage.end(now=time.monotonic())
            if _connection().vendor == "sqlite":
                # As long as the transaction was, so that others get half of the time.
                native.sleep(min(MAX_PAUSE_S, time.monotonic() - began_at))

    def _save_batch(self, batch: Sequence[tuple[Attempt, store.Report]]) -> None:
        """Save these reports. If one is rejected, save all others, and renew only the lease of that one.

        A row that another transaction has locked for too long is saved later.
        """
        now = store.now()
        try:
            outcomes = store.save([report for _attempt, report in batch])
        except (*REJECTED, store.RowLocked) as error:
            if len(batch) > 1:
                self._save_batch(batch[: len(batch) // 2])
                self._save_batch(batch[len(batch) // 2 :])
                return
            if isinstance(error, store.RowLocked):
                return
            [(attempt, report)] = batch
            attempt.log_once("Its progress can't be saved")
            outcomes = store.save([replace(report, is_beat=True)])
        for (attempt, report), outcome in zip(batch, outcomes, strict=True):
            attempt.record_save(report, outcome, now=now)
            counts().update(superseded=int(outcome.fenced), saved=int(not outcome.fenced and not outcome.unknown))
        for (attempt, _report), outcome in zip(batch, outcomes, strict=True):
            if outcome.lost:
                _take_back(attempt)

    def _claim(self) -> None:
        unclaimed = (attempt for attempt in self._attempts() if attempt.claim is None and not attempt.is_refused)
        for attempt in time_slice(unclaimed):
            try:
                with store.time_limit():
                    refusal = attempt.try_claim()
                if refusal is not None and refusal.state is State.CANCELLED:
                    attempt.tracker.request_cancel()
            except store.RowLocked:
                pass  # The publisher's transaction is still open.
            except REJECTED:
                attempt.log_once("It can't be claimed")
                attempt.is_refused = True
            self.outage.end(now=time.monotonic())

    def write_ends(self) -> None:
        """Try each end once that is left over. Raises the error of the database if it is unavailable."""
        for write_end in time_slice(self._ends.copy()):
            try:
                with store.time_limit():
                    write_end()
            except store.RowLocked:
                continue  # The publisher's transaction is still open.
            except REJECTED:
                logger.exception("The end of a task can't be written; its lease will end it.")
            except Exception:
                # Another one leads the next time, in case this one alone can't be written.
                self._ends.rotate(-1)
                raise
            self.outage.end(now=time.monotonic())
            with suppress(ValueError):  # When the process exits, two threads may write the same end.
                self._ends.remove(write_end)

    def write_last_ends(self) -> None:
        """Write all ends that are left over, because the process exits; after `EXIT_PATIENCE_S`, to the spool."""
        deadline = time.monotonic() + EXIT_PATIENCE_S
        while self._ends and time.monotonic() < deadline:
            try:
                self.write_ends()
            except Exception:
                # Of any class, as for the first tries.
                _connection().close()
                time.sleep(RETRY_S)
        while self._ends:
            with suppress(IndexError):  # The saver's thread may have written it just now.
                end = self._ends.popleft()
                if isinstance(end, PendingEnd):
                    spool.put(end.to_spool())
                    counts()["spooled"] += 1

    def _read_spool(self) -> None:
        if time.monotonic() >= self._read_spool_at:
            self._read_spool_at = time.monotonic() + SPOOL_EVERY_S
            spool.write_all()

    def _prune(self) -> None:
        every_s = conf.settings().prune_every_s
        if every_s is None or time.monotonic() < self._prune_at:
            return
        # At a random time, so that the processes of a site don't prune all at once, and none as soon as it starts.
        self._prune_at = time.monotonic() + every_s * uniform(0.5, 1.0)  # noqa: S311 (no secret)
        with store.time_limit(PRUNE_S):
            pruned = store.prune()
        for changed in pruned.given_up:
            announce(changed.envelopes)


def time_slice(items: Iterable[T]) -> Iterator[T]:
    """Yield from `items` until `SLICE_S` has passed: at least one item, if there is any."""
    deadline = time.monotonic() + SLICE_S
    for item in items:
        yield item
        if time.monotonic() > deadline:
            return


def _take_back(attempt: Attempt) -> None:
    """Continue an attempt that was presumed lost. One that is over takes itself back when it writes its end."""
    if attempt.claim is None or attempt.is_over:
        return
    changed = attempt.take_back(attempt.claim)
    announce(changed.envelopes if changed else [])


def _connection() -> Any:
    """This thread's connection to the database of the tasks."""
    return connections[conf.settings().database]
