"""The reporter: one thread a worker process that looks at all its trackers and publishes what changed.

It sleeps while nothing runs, and looks every `PUBLISH_EVERY_S` while something does. However much moves, it
tells `TOLD_AT_ONCE` at most before it sleeps again: where more moves, each is told less often, and the process
keeps its time for the tasks. What is slow or may hang, the database, is the saver's, a thread of its own: a
locked table does not stop the bar. Requests to cancel come in by the broker, or with the answer to a save.
Knows the broker and `saver.py`; `run.py` calls it.
"""

import logging
import os
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final

from telltale import conf, native, store
from telltale.brokers import broker
from telltale.brokers.base import Broker, BrokerUnavailable, Selective
from telltale.core.outage import Outage
from telltale.core.topics import CANCELLATIONS
from telltale.core.wire import Envelope, Malformed
from telltale.messages import hand_over
from telltale.worker.attempts import Attempt
from telltale.worker.saver import Saver

logger = logging.getLogger(__name__)

TOLD_AT_ONCE: Final = 500
"""How many changes are handed over together: some 10 ms of work, and what one bundle of `local://` holds."""

LISTEN_AGAIN_S: Final = 5.0
"""Between two tries to hear the broker, where it can't be heard."""

_CANCEL: Final = Envelope(cancel="").to_bytes().partition(b" - ")[0]
"""How an envelope begins that asks for a cancellation: all others are for browsers, and not worth decoding."""


class Reporter:
    """Of this process. Its thread starts with the first attempt, and is a daemon: ends are not its business."""

    def __init__(self) -> None:
        self.saver = Saver(self._attempts)
        self._running: dict[int, Attempt] = {}
        self._clock_offset = 0.0
        self._some = native.Event()
        self._start = native.lock()
        self._is_started = False
        self._heard: Broker | None = None
        self._deaf_until: tuple[Broker | None, float] = (None, 0.0)
        self._deafness = Outage(logger, "Hearing the broker", "Cancellations come by the database until then.")

    def add(self, attempt: Attempt) -> None:
        """Look at it from now on."""
        if attempt.claim is not None:
            self._clock_offset = store.now() - time.time()
        self._running[id(attempt)] = attempt
        with self._start:
            if not self._is_started:
                self._is_started = True
                native.start_thread(self._work, name="telltale-reporter")
        self._some.set()
        self.saver.wake()

    def remove(self, attempt: Attempt) -> None:
        """Look at it no more."""
        self._running.pop(id(attempt), None)

    def _attempts(self) -> list[Attempt]:
        # One C call: other threads may add meanwhile.
        return list(self._running.values())

    def _work(self) -> None:
        while True:
            if not self._running:
                self._some.clear()
            if not self._running:
                self._some.wait()
            try:
                self._listen()
                self._look()
            except Exception:
                # A look is repeated in a moment; without this thread nobody would ever look again.
                logger.exception("Looking at the tasks failed; it is tried again.")
            native.sleep(conf.settings().publish_every_s)

    def _look(self) -> None:
        """One look at each; `TOLD_AT_ONCE` changes are handed over at a time."""
        every_s, beat_s = conf.settings().publish_every_s, conf.settings().beat_s
        now = time.time() + self._clock_offset
        told: list[Envelope] = []
        for attempt in self._attempts():
            snapshot = attempt.look(now=now, beat_s=beat_s)
            if snapshot is None or attempt.claim is None:
                continue
            told.append(Envelope(topics=attempt.claim.topics, snapshot=snapshot))
            if len(told) == TOLD_AT_ONCE:
                hand_over(told)
                told = []
                native.sleep(every_s)
                now = time.time() + self._clock_offset
        if told:
            hand_over(told)

    # Hearing

    def _listen(self) -> None:
        present = broker()
        deaf_to, until = self._deaf_until
        if self._heard is present or (deaf_to is present and time.monotonic() < until):
            return
        try:
            listener = present.listen(self._hear, _missed)
            if isinstance(listener, Selective):
                listener.follow([CANCELLATIONS])
        except BrokerUnavailable as error:
            self._deaf_until = (present, time.monotonic() + LISTEN_AGAIN_S)
            self._deafness.begin(error, now=time.monotonic())
        else:
            self._heard = present
            self._deafness.end(now=time.monotonic())

    def _hear(self, messages: Sequence[bytes]) -> None:
        wanted = set()
        for message in messages:
            if message.startswith(_CANCEL):
                with suppress(Malformed):
                    wanted.add(Envelope.from_bytes(message).cancel)
        for attempt in self._attempts() if wanted else ():
            if attempt.claim is not None and attempt.claim.snapshot.id in wanted:
                attempt.tracker.request_cancel()


def _missed(_topics: Collection[str] | None) -> None:
    """Nothing: what was missed comes with the answer to the next save."""


_reporter: Reporter | None = None
_lock = native.lock()


def reporter() -> Reporter:
    """This process's; a forked child has its own, for threads are not copied."""
    global _reporter
    with _lock:
        if _reporter is None:
            _reporter = Reporter()
        return _reporter


def _after_fork() -> None:
    global _reporter, _lock
    _reporter, _lock = None, native.lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
