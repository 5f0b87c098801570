"""The reporter: one thread in each worker process that reads all trackers and publishes what changed.

It sleeps while nothing runs, and reads every `PUBLISH_EVERY_S` while something does. After `PUBLISHED_AT_ONCE`
changes it sleeps again: where more tasks change, each is published less often, and the process keeps its time for the
tasks. The database, which may be slow or locked, is left to the saver's thread, so progress is published all the same.
Requests to cancel arrive with the answer to a save, or earlier through the broker; then the store is asked first.
`run.py` calls it.
"""

import logging
import time
from collections.abc import Collection, Container, Sequence
from contextlib import suppress
from typing import Final

from telltale import conf, native, store
from telltale.brokers import broker
from telltale.brokers.base import Broker, BrokerUnavailable, SelectiveListener
from telltale.core.outage import Outage
from telltale.core.snapshot import Snapshot
from telltale.core.topics import CANCELLATIONS
from telltale.core.wire import Envelope, Malformed
from telltale.messages import send_to_broker
from telltale.worker.attempt import Attempt
from telltale.worker.saver import Saver

logger = logging.getLogger(__name__)

PUBLISHED_AT_ONCE: Final = 500
"""How many changes are given to the broker together: about 10 ms of work, and the size of a `local://` bundle."""

LISTEN_AGAIN_S: Final = 5.0
"""The time between two tries to listen to a broker that is unavailable."""

_CANCEL_PREFIX: Final = Envelope(cancel="").to_bytes().partition(b" - ")[0]
"""How the message of a cancellation begins. All other messages are for browsers, and are not decoded here."""


class Reporter:
    """One for each process; see `reporter()`. Its thread is a daemon: the ends of tasks don't depend on it."""

    def __init__(self) -> None:
        self._thread = native.LazyThread(self._work, "telltale-reporter")
        self.saver = Saver(self._attempts, start_reporter=self._thread.start)
        self._running: dict[int, Attempt] = {}
        self._has_attempts = native.Event()
        self._listened_broker: Broker | None = None
        self._failed_broker: Broker | None = None
        self._listen_again_at = 0.0
        """When to try the `_failed_broker` again, by the monotonic clock."""
        self._listen_outage = Outage(
            logger, "Listening to the broker", "Cancellations come by the database until then."
        )

    def add(self, attempt: Attempt) -> None:
        """Publish and save the attempt's progress from now on."""
        if attempt.claim is not None:
            self.saver.measure_clock()
        self._running[id(attempt)] = attempt
        if not self._start_threads():
            attempt.tracker.start_reporting = self._start_threads
        self._has_attempts.set()
        self.saver.wake()

    def _start_threads(self) -> bool:
        """Start both threads, unless they run; False if the system has none to give at the moment."""
        return self._thread.start() and self.saver.start()

    def remove(self, attempt: Attempt) -> None:
        """Stop publishing and saving the attempt's progress."""
        self._running.pop(id(attempt), None)

    @property
    def running_count(self) -> int:
        """How many attempts run here."""
        return len(self._running)

    def published_of(self, task_ids: Container[str]) -> list[Snapshot]:
        """The newest published snapshots of these tasks, as far as they run in this process."""
        published = [attempt.published for attempt in self._attempts()]
        return [snapshot for snapshot in published if snapshot is not None and snapshot.id in task_ids]

    def _attempts(self) -> list[Attempt]:
        # A single C call, because other threads may add attempts meanwhile.
        return list(self._running.values())

    def _work(self) -> None:
        while True:
            if not self._running:
                self._has_attempts.clear()
            if not self._running:
                self._has_attempts.wait()
            try:
                self.saver.start()
                self._listen()
                self._publish_changes()
            except Exception:
                # The thread must live on: nothing would restart it.
                logger.exception("Publishing the progress of tasks failed; it is tried again.")
            native.sleep(conf.settings().publish_every_s)

    def _publish_changes(self) -> None:
        """Read each tracker once and publish the changes, with a pause after each `PUBLISHED_AT_ONCE`."""
        every_s, beat_s = conf.settings().publish_every_s, conf.settings().beat_s
        now = self._now()
        envelopes: list[Envelope] = []
        for attempt in self._attempts():
            snapshot = attempt.next_snapshot(now=now, beat_s=beat_s)
            if snapshot is None or attempt.claim is None:
                continue
            envelopes.append(Envelope(topics=attempt.topics, snapshot=snapshot))
            if len(envelopes) == PUBLISHED_AT_ONCE:
                send_to_broker(envelopes)
                envelopes = []
                native.sleep(every_s)
                now = self._now()
        if envelopes:
            send_to_broker(envelopes)

    def _now(self) -> float:
        """The store's time, without asking the database."""
        return time.monotonic() + self.saver.clock_offset_s

    # Cancellations

    def _listen(self) -> None:
        current_broker = broker()
        if self._listened_broker is current_broker:
            return
        if self._failed_broker is current_broker and time.monotonic() < self._listen_again_at:
            return
        try:
            listener = current_broker.listen(self._on_messages, _on_missed)
            if isinstance(listener, SelectiveListener):
                listener.follow([CANCELLATIONS])
        except BrokerUnavailable as error:
            self._failed_broker, self._listen_again_at = current_broker, time.monotonic() + LISTEN_AGAIN_S
            self._listen_outage.begin(error, now=time.monotonic())
        else:
            self._listened_broker = current_broker
            self._listen_outage.end(now=time.monotonic())

    def _on_messages(self, messages: Sequence[bytes]) -> None:
        cancelled_ids = set()
        for message in messages:
            if message.startswith(_CANCEL_PREFIX):
                with suppress(Malformed):
                    cancelled_ids.add(Envelope.from_bytes(message).cancel)
        if not cancelled_ids:
            return
        for attempt in self._attempts():
            if attempt.claim is not None and attempt.claim.snapshot.id in cancelled_ids:
                self.saver.check_cancellation(attempt)


def _on_missed(_topics: Collection[str] | None) -> None:
    """Does nothing: a missed cancellation arrives with the answer to the next save."""


_reporter = native.PerProcess(Reporter)


def reporter() -> Reporter:
    """This process's reporter. A forked child has its own, because threads are not copied."""
    return _reporter.get()


# The pages of this process show its own tasks as they are, also while nothing can be saved.
store.add_source(lambda saved: reporter().published_of(saved))
