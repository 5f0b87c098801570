"""What other processes publish of tasks that they can't save, for reads in a process that follows no broker.

A page under WSGI is answered from the database alone. If a running task there has not been saved for longer than its
worker leaves between two beats, the worker may be unable to save: one transaction holds SQLite's write lock, or the
database is read-only. From then on a thread listens to the broker for that task, and reads of this process show what
it hears (`store.add_source`). It stops when no read has asked for such a task for a while. A read never waits for it.
"""

import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from telltale import conf, store
from telltale.brokers import broker
from telltale.brokers.base import Broker, Listener, SelectiveListener
from telltale.core.outage import Outage
from telltale.core.snapshot import Snapshot, supersedes
from telltale.core.topics import task_topic
from telltale.core.wire import Envelope, Kind
from telltale.live.incoming import usable_envelopes
from telltale.native import PerProcess
from telltale.store import SavedRun

logger = logging.getLogger(__name__)

LATE_BEATS: Final = 1.5
"""After this many times `BEAT_S` without a saved beat, a task's worker is listened to."""

KEEP_S: Final = 60.0
"""How long a task is listened to after the last read that asked for it."""

CHECK_EVERY_S: Final = 5.0
"""The time between two looks whether a task is still asked for, and between two tries to listen."""

MAX_TASKS: Final = 1_000
"""The most tasks that are listened to at a time. Those beyond it are shown as they were last saved."""


class Heard:
    """One for each process; its thread, a daemon, runs while any task is listened to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked_at: dict[str, float] = {}
        """By task id: when a read last asked for it, by the monotonic clock."""
        self._runs: dict[str, SavedRun] = {}
        """By task id: what the database said when a read last asked. What can't be true by it is not kept."""
        self._clock_offset = 0.0
        """From the monotonic clock to the store's, at the last read: the thread that receives uses no database."""
        self._newest: dict[str, Snapshot] = {}
        self._has_new_tasks = threading.Event()
        self._is_running = False
        self._broker: Broker | None = None
        self._listener: Listener | None = None
        self._followed: frozenset[str] = frozenset()
        self._outage = Outage(logger, "Listening to the broker", "Pages show tasks as they were last saved.")

    def snapshots_of(self, saved: Mapping[str, SavedRun]) -> list[Snapshot]:
        """Return what was heard of these runs, and listen to those whose last saved beat is late. Returns at once."""
        now = store.now()
        late_since = now - LATE_BEATS * conf.settings().beat_s
        late = {task_id: run for task_id, run in saved.items() if run.beat_at < late_since}
        with self._lock:
            self._clock_offset = now - time.monotonic()
            if late:
                self._ask_for(late)
            heard = [self._newest[task_id] for task_id in saved if task_id in self._newest]
            credible = {snapshot.id: snapshot for snapshot in heard if saved[snapshot.id].believes(snapshot, now)}
            # The database outranks what was only heard. Since that was kept, another attempt may have begun.
            for snapshot in heard:
                if snapshot.id not in credible:
                    del self._newest[snapshot.id]
        return list(credible.values())

    def forget(self) -> None:
        """Forget all tasks; the thread stops listening soon."""
        with self._lock:
            self._asked_at, self._runs, self._newest = {}, {}, {}
        self._has_new_tasks.set()

    def _ask_for(self, runs: Mapping[str, SavedRun]) -> None:
        now = time.monotonic()
        asked_at = dict(self._asked_at)  # A copy, because other threads read it without the lock.
        for task_id, run in runs.items():
            if task_id in asked_at or len(asked_at) < MAX_TASKS:
                asked_at[task_id] = now
                self._runs[task_id] = run
        if len(asked_at) > len(self._asked_at):
            self._has_new_tasks.set()
        self._asked_at = asked_at
        if self._asked_at and not self._is_running:
            try:
                threading.Thread(target=self._work, name="telltale-heard", daemon=True).start()
                self._is_running = True
            except RuntimeError as error:
                self._outage.begin(error, now=now)

    def _work(self) -> None:
        while self._is_asked_for():
            self._has_new_tasks.clear()
            try:
                self._listen()
            except Exception as error:
                # A broker may be anyone's code, and its service may be down.
                self._outage.begin(error, now=time.monotonic())
            self._has_new_tasks.wait(CHECK_EVERY_S)

    def _is_asked_for(self) -> bool:
        """Whether any task is still asked for; if none is, stop listening."""
        with self._lock:
            since = time.monotonic() - KEEP_S
            self._asked_at = {task_id: at for task_id, at in self._asked_at.items() if at >= since}
            self._runs = {task_id: self._runs[task_id] for task_id in self._asked_at}
            self._newest = {task_id: newest for task_id, newest in self._newest.items() if task_id in self._asked_at}
            self._is_running = bool(self._asked_at)
            listener = None if self._is_running else self._listener
            if listener is not None:
                self._listener, self._broker, self._followed = None, None, frozenset()
        if listener is not None:
            listener.close()
        return bool(listener is None and self._asked_at)

    def _listen(self) -> None:
        source = broker()
        if source is not self._broker:
            self._listener, self._followed = source.listen(self._receive, _on_missed), frozenset()
            self._broker = source
        if isinstance(self._listener, SelectiveListener):
            topics = frozenset(map(task_topic, list(self._asked_at)))
            self._listener.follow(topics - self._followed)
            self._listener.forget(self._followed - topics)
            self._followed = topics
        self._outage.end(now=time.monotonic())

    def _receive(self, messages: Sequence[bytes]) -> None:
        for envelope in usable_envelopes(messages, is_wanted=self._is_asked_for_envelope):
            snapshot = envelope.snapshot
            with self._lock:
                run = None if snapshot is None else self._runs.get(snapshot.id)
                # At once: kept until the next read, what can't be true would hide what comes.
                if snapshot is None or run is None or not run.believes(snapshot, self._now()):
                    continue
                known = self._newest.get(snapshot.id)
                if known is None or supersedes(snapshot.order, known.order):
                    self._newest[snapshot.id] = snapshot

    def _now(self) -> float:
        return self._clock_offset + time.monotonic()

    def _is_asked_for_envelope(self, envelope: Envelope) -> bool:
        return envelope.kind is Kind.SNAPSHOT and envelope.about in self._asked_at


def _on_missed(_topics: Collection[str] | None) -> None:
    """Does nothing: the worker's next message holds the whole state."""


_heard = PerProcess(Heard)


def install() -> None:
    """Have the store's reads in this process ask for what is heard."""
    store.add_source(lambda saved: _heard.get().snapshots_of(saved))


def forget() -> None:
    """Forget what this process has heard. For tests."""
    _heard.get().forget()
