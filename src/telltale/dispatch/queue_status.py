"""Why a task waits: how many tasks are before it, and whether a worker is listening. Asked of the task's runner.

Views call `request_queue_status` with the tasks that they show; it returns at once. One thread in each process asks
the runners, at most every `queue_status_every_s` for each task, because an answer may take a second. It writes the
answer to the task's row and publishes it to the task's followers.
"""

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from uuid import UUID

from django.db import close_old_connections

from telltale import conf, store
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.dispatch.missing import given_up_after_s, has_message, is_passed_over
from telltale.dispatch.registry import by_name
from telltale.dispatch.runner import KnowsPosition, KnowsWorkers, Runner
from telltale.messages import announce
from telltale.models import TaskState
from telltale.native import PerProcess

logger = logging.getLogger(__name__)

MIN_WAIT_S: Final = 2.0
"""A task that has waited less is probably about to begin, so its runner is not asked."""

BATCH_SIZE: Final = 50
"""How many tasks are looked up together."""

MISSING_IDS: Final = 10_000
"""How many missing tasks are remembered."""

LISTENING_FOR_S: Final = 15.0
"""How long the answer whether a worker is listening is reused: the question is slow."""


def request_queue_status(snapshots: Iterable[Snapshot], *, now: float) -> None:
    """Have the queue status of those tasks updated that wait for a worker. Returns at once, and never raises."""
    every_s = conf.settings().queue_status_every_s
    if every_s is None:
        return
    waiting_ids = [snapshot.id for snapshot in snapshots if _is_waiting(snapshot, now)]
    if waiting_ids:
        _poller.get().request(waiting_ids, every_s=every_s)


def _is_waiting(snapshot: Snapshot, now: float) -> bool:
    if snapshot.state not in (State.QUEUED, State.RETRYING):
        return False
    if now - max(snapshot.created_at, snapshot.beat_at or 0.0) < MIN_WAIT_S:
        return False
    return snapshot.due_at is None or snapshot.due_at < now - MIN_WAIT_S


class QueueStatusPoller:
    """Asks the runners in a thread of its own, a daemon that starts with the first request."""

    def __init__(self) -> None:
        self._requested: dict[str, None] = {}
        """The ids of the tasks to ask about, in the order of the requests."""
        self._asked_at: dict[str, float] = {}
        self._is_listening_cache: dict[tuple[str, str], tuple[float, bool | None]] = {}
        """By runner and task name: when the runner was asked, and its answer."""
        self._missing_ids: set[UUID] = set()
        """The tasks that were missing when this thread looked last."""
        self._lock = threading.Lock()
        self._has_requests = threading.Event()
        self._thread: threading.Thread | None = None

    def request(self, ids: list[str], *, every_s: float) -> None:
        """Ask about these tasks soon, except those that were asked about in the last `every_s` seconds."""
        now = time.monotonic()
        with self._lock:
            self._asked_at = {pk: asked_at for pk, asked_at in self._asked_at.items() if now - asked_at < every_s}
            new_ids = [pk for pk in ids if pk not in self._asked_at and pk not in self._requested]
            if not new_ids:
                return
            self._requested |= dict.fromkeys(new_ids)
            self._start_thread()
        self._has_requests.set()

    def _start_thread(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="telltale-waiting", daemon=True)
            with suppress(RuntimeError):  # The system has no thread to give: the next request starts it.
                thread.start()
                self._thread = thread

    def _work(self) -> None:
        while True:
            self._has_requests.wait()
            self._has_requests.clear()
            while ids := self._next_batch():
                try:
                    self._update(ids)
                except Exception as error:
                    # The database may be down: the status stays unknown.
                    logger.info("The queue status can't be updated just now: %r", error)
                with suppress(Exception):  # A driver may raise anything, and this thread goes on.
                    close_old_connections()

    def _next_batch(self) -> list[str]:
        with self._lock:
            ids = list(self._requested)[:BATCH_SIZE]
            for pk in ids:
                del self._requested[pk]
                self._asked_at[pk] = time.monotonic()
            return ids

    def _update(self, ids: list[str]) -> None:
        failed: set[str] = set()
        for row in store.task_rows().filter(pk__in=ids, state__in=[State.QUEUED.value, State.RETRYING.value]):
            if row.runner in failed:
                continue  # Its broker may be down, and each question would wait for it.
            try:
                self._update_row(row)
            except Exception as error:
                # Runners may be third-party code. The others are asked all the same.
                failed.add(row.runner)
                logger.info("The queue status of tasks of %s can't be updated just now: %r", row.runner, error)

    def _update_row(self, row: TaskState) -> None:
        runner = by_name(row.runner)
        task = runner.find(row.name) if runner is not None else None
        if runner is None or task is None:
            return
        ahead, is_listening = _ahead(runner, task, row), self._is_listening(runner, task, row.name)
        answer = has_message(runner, task, row)
        is_gone = answer is False
        is_missing = is_gone or (answer is None and is_passed_over(row, ahead=ahead, is_listening=is_listening))
        if row.state == State.RETRYING:
            ahead = is_listening = None  # Shown of tasks that were never begun.
        changed = store.set_queue_status(row.pk, ahead=ahead, is_listening=is_listening, is_missing=is_missing)
        ended = self._give_up(row, is_missing=is_missing, is_gone=is_gone)
        for change in (changed, ended):
            announce(change.envelopes if change else [])

    def _give_up(self, row: TaskState, *, is_missing: bool, is_gone: bool) -> store.Changed | None:
        """End the task if it was missing for too long, and was at the last look of this process already.

        A worker that has just returned, after a time in which no page asked, is about to begin what it finds.
        """
        missing_s, was_missing = given_up_after_s(is_gone=is_gone), row.pk in self._missing_ids
        if not is_missing:
            self._missing_ids.discard(row.pk)
            return None
        if len(self._missing_ids) >= MISSING_IDS:
            self._missing_ids.clear()  # Most are of tasks that no page asks about any more.
        self._missing_ids.add(row.pk)
        if missing_s is None or not was_missing:
            return None
        return store.end_missing(row.pk, missing_s=missing_s)

    def _is_listening(self, runner: Runner, task: object, name: str) -> bool | None:
        if not isinstance(runner, KnowsWorkers):
            return None
        asked_at, answer = self._is_listening_cache.get((runner.name, name), (float("-inf"), None))
        if time.monotonic() - asked_at < LISTENING_FOR_S:
            return answer
        answer = runner.is_listening(task)
        self._is_listening_cache[runner.name, name] = (time.monotonic(), answer)
        return answer


def _ahead(runner: Runner, task: object, row: TaskState) -> int | None:
    if isinstance(runner, KnowsPosition) and row.runner_id is not None:
        return runner.ahead(task, row.runner_id)
    # Telltale's own tasks that were enqueued earlier: a lower bound, because the queue may hold other tasks too.
    return store.count_before(row)


_poller = PerProcess(QueueStatusPoller)
