"""The newest snapshots of the watched tasks: heard from the broker, and read from the store.

As in web processes, the broker is attached to first and the store is read second, and the order of snapshots decides
which is newer, unless the store denies what was heard before the read. An end that may be forged is looked up. A broker
that fails costs speed alone: the store is read at intervals that depend on the broker's reach.
"""

import logging
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db import DatabaseError, close_old_connections

from telltale import brokers, store
from telltale.brokers.base import Listener, Reach, SelectiveListener
from telltale.core.outage import Outage
from telltale.core.snapshot import Order, Snapshot, supersedes
from telltale.core.topics import task_topic
from telltale.core.wire import Envelope, Kind
from telltale.dispatch.queue_status import request_queue_status
from telltale.live.incoming import usable_envelopes
from telltale.owners import Owner

logger = logging.getLogger(__name__)

LIST_EVERY_S: Final = 2.0
"""How often the store is asked which tasks there are; the broker does not say that a task was queued."""

SHOW_ENDED_S: Final = 10.0
"""How long a list goes on to show a task that has ended."""

RETRY_LISTEN_S: Final = 10.0
"""The time between two tries to listen to a broker that is unavailable."""

MOST: Final = 50
"""The most tasks that can be watched together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which tasks are watched: one, or the newest unfinished ones."""

    task_id: UUID | None = None
    """The one task; None: the newest unfinished ones."""
    user_id: Any = None
    """The owner of the newest unfinished tasks; None: all owners, or none."""
    limit: int = 20
    """How many of the newest unfinished tasks; at most `MOST`."""

    def ids(self) -> list[UUID]:
        """Return the ids of the tasks, the newest first; one query that reads `limit` rows of an index."""
        if self.task_id is not None:
            return [self.task_id]
        rows = store.task_rows() if self.user_id is None else store.task_rows_of(Owner(user_id=self.user_id))
        # A group stands for its members.
        unfinished = rows.filter(ended_at=None, group_id=None).order_by("-created_at")
        return list(unfinished.values_list("pk", flat=True)[: self.limit])


class TaskFeed:
    """The snapshots of the selected tasks. The broker's thread adds what it receives; the caller's thread reads."""

    def __init__(self, selection: Selection) -> None:
        self.changed = threading.Event()
        """Set when a snapshot may be newer than before."""
        self.has_read = False
        """Whether the store was read at least once: without any snapshot then, there is no such task."""
        self._selection = selection
        self._lock = threading.Lock()
        self._snapshots: dict[str, Snapshot] = {}
        """By id, the newest task first."""
        self._heard: dict[str, Order] = {}
        """By id: the newest order that came since the last read began, which the next read confirms or corrects."""
        self._ended_at: dict[str, float] = {}
        """When the end of a task was first seen, by the monotonic clock."""
        self._listener: Listener | None = None
        self._reach = Reach.NOWHERE
        self._followed: set[str] = set()
        self._listen_at = self._read_at = float("-inf")
        self._listen_outage = Outage(logger, "Listening to the broker", "The tasks are read from the database.")
        self._read_outage = Outage(logger, "Reading the tasks", "It is tried again.")

    def refresh(self) -> None:
        """Read the store if that is due. Errors of the broker and of the database are logged once for each outage."""
        if time.monotonic() < self._read_at:
            return
        try:
            close_old_connections()
            selected = self._selection.ids()
            ids = list(dict.fromkeys([*selected, *map(UUID, self._shown())]))
            self._listen(ids)
            self._read(ids, selected)
        except DatabaseError as error:
            self._read_outage.begin(error, now=time.monotonic())
        else:
            self._read_outage.end(now=time.monotonic())
        self._read_at = time.monotonic() + self._every_s()

    def snapshots(self) -> list[Snapshot]:
        """Return the newest snapshots, the newest task first."""
        with self._lock:
            return list(self._snapshots.values())

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.close()

    def _every_s(self) -> float:
        recheck_s = brokers.recheck_s(self._reach)
        return recheck_s if self._selection.task_id is not None else min(recheck_s, LIST_EVERY_S)

    # The store

    def _shown(self) -> list[str]:
        """The ids of the tasks of the last read, without those that ended some time ago."""
        oldest = time.monotonic() - SHOW_ENDED_S
        with self._lock:
            return [pk for pk in self._snapshots if self._ended_at.get(pk, oldest + 1) > oldest]

    def _read(self, ids: Collection[UUID], selected: Collection[UUID]) -> None:
        with self._lock:
            heard = dict(self._heard)
        envelopes, now = store.read_tasks(ids), store.now()
        selected_ids = set(map(str, selected))
        with self._lock:
            # What came during the read is left for the next one.
            self._heard = {pk: order for pk, order in self._heard.items() if heard.get(pk) != order}
            denied = {it.about for it in envelopes if it.about in heard and it.denies(heard[it.about], now=now)}
            known = {pk: snapshot for pk, snapshot in self._snapshots.items() if pk not in denied}
            snapshots = [envelope.snapshot for envelope in envelopes]
            newest = [_newer(snapshot, known.get(snapshot.id)) for snapshot in snapshots if snapshot]
            # An unfinished task that is no longer among the newest is left out; one that has ended is shown once more.
            shown = [snapshot for snapshot in newest if snapshot.id in selected_ids or snapshot.ended]
            shown.sort(key=lambda snapshot: -snapshot.created_at)
            self._snapshots = {snapshot.id: snapshot for snapshot in shown[: 2 * self._selection.limit]}
            now = time.monotonic()
            self._ended_at = {s.id: self._ended_at.get(s.id, now) for s in self._snapshots.values() if s.ended}
        self.has_read = True
        request_queue_status(self.snapshots(), now=store.now())

    # The broker

    def _listen(self, ids: Collection[UUID]) -> None:
        if time.monotonic() < self._listen_at:
            return
        try:
            if self._listener is None:
                source = brokers.broker()
                self._listener = source.listen(self._receive, self._report_missed)
                self._reach = source.reach
            if isinstance(self._listener, SelectiveListener):
                self._follow(self._listener, {task_topic(pk) for pk in ids})
        except Exception as error:
            # A broker may be third-party code. Without it, the store is read more often.
            self._listen_outage.begin(error, now=time.monotonic())
            self._listen_at = time.monotonic() + RETRY_LISTEN_S
        else:
            self._listen_outage.end(now=time.monotonic())

    def _follow(self, listener: SelectiveListener, topics: set[str]) -> None:
        new, old = topics - self._followed, self._followed - topics
        self._followed = topics
        if old:
            listener.forget(old)
        if new:
            listener.follow(new)

    def _receive(self, messages: Sequence[bytes]) -> None:
        ends: list[Envelope] = []
        on_claimed_end = None if brokers.is_private() else ends.append
        for envelope in usable_envelopes(messages, is_wanted=self._is_watched, on_claimed_end=on_claimed_end):
            self._add(envelope.snapshot)
        if ends:
            self._report_missed(None)

    def _is_watched(self, envelope: Envelope) -> bool:
        return envelope.kind is Kind.SNAPSHOT and envelope.about in self._snapshots

    def _add(self, snapshot: Snapshot | None) -> None:
        with self._lock:
            if snapshot is None or snapshot.id not in self._snapshots:
                return
            self._snapshots[snapshot.id] = _newer(snapshot, self._snapshots[snapshot.id])
            if supersedes(snapshot.order, self._heard.get(snapshot.id)):
                self._heard[snapshot.id] = snapshot.order
            if snapshot.ended:
                self._ended_at.setdefault(snapshot.id, time.monotonic())
        self.changed.set()

    def _report_missed(self, _topics: Collection[str] | None) -> None:
        self._read_at = float("-inf")
        self.changed.set()


def _newer(snapshot: Snapshot, known: Snapshot | None) -> Snapshot:
    """The one that supersedes the other."""
    return snapshot if known is None or supersedes(snapshot.order, known.order) else known
