"""Why a task waits: how many are before it, and whether anybody listens; asked of its runner, at a bounded rate.

Views pass queued tasks to `request_queue_status`, which returns at once: one thread a process asks each runner, at
most every `waiting_every_s` for each task, and writes what is new, so that all who follow the task
hear of it. Asking may take a second. Called by `web`.
"""

import logging
import os
import threading
import time
from collections.abc import Iterable
from functools import cache
from typing import Final

from django.db import close_old_connections

from telltale import conf, store
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.dispatch.registry import by_name
from telltale.dispatch.runner import KnowsPosition, KnowsWorkers, Runner
from telltale.messages import announce
from telltale.models import TaskState

logger = logging.getLogger(__name__)

AFTER_S: Final = 2.0
"""Whoever has waited less than this is about to begin: not worth a question."""

MOST: Final = 50
"""Tasks asked about in one go; those behind them have their turn later."""

LISTENING_FOR_S: Final = 15.0
"""How long an answer holds to whether anybody listens: asking is slow."""


def request_queue_status(snapshots: Iterable[Snapshot], *, now: float) -> None:
    """Have these asked about, those among them that wait and are due. Returns at once, and never raises."""
    every_s = conf.settings().waiting_every_s
    if every_s is None:
        return
    waiting = [s.id for s in snapshots if s.state is State.QUEUED and _is_due(s, now)]
    if waiting:
        _asker().request_queue_status(waiting, every_s=every_s)


def _is_due(snapshot: Snapshot, now: float) -> bool:
    return now - snapshot.created_at >= AFTER_S and (snapshot.due_at is None or snapshot.due_at < now - AFTER_S)


class QueueStatusPoller:
    """Of this process. Its thread starts with the first question, and is a daemon."""

    def __init__(self) -> None:
        self._wanted: dict[str, None] = {}
        self._asked_at: dict[str, float] = {}
        self._listening: dict[tuple[str, str], tuple[float, bool | None]] = {}
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._thread: threading.Thread | None = None

    def request_queue_status(self, ids: list[str], *, every_s: float) -> None:
        """Ask about these, unless they were asked about lately."""
        at = time.monotonic()
        with self._lock:
            self._asked_at = {pk: then for pk, then in self._asked_at.items() if at - then < every_s}
            fresh = [pk for pk in ids if pk not in self._asked_at and pk not in self._wanted]
            if not fresh:
                return
            self._wanted |= dict.fromkeys(fresh)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="telltale-waiting", daemon=True)
                self._thread.start()
        self._some.set()

    def _work(self) -> None:
        while True:
            self._some.wait()
            self._some.clear()
            while ids := self._next():
                try:
                    self._ask(ids)
                except Exception as error:
                    # Runners are anyone's code, and their brokers may be away: nobody knows, for now.
                    logger.info("Why tasks wait can't be told just now: %r", error)
                finally:
                    close_old_connections()

    def _next(self) -> list[str]:
        with self._lock:
            ids = list(self._wanted)[:MOST]
            for pk in ids:
                del self._wanted[pk]
                self._asked_at[pk] = time.monotonic()
            return ids

    def _ask(self, ids: list[str]) -> None:
        rows = TaskState.objects.using(conf.settings().database)
        for row in rows.filter(pk__in=ids, state=State.QUEUED.value):
            runner = by_name(row.runner)
            task = runner.find(row.name) if runner is not None else None
            if runner is None or task is None:
                continue
            ahead, is_listening = self._ahead(runner, task, row), self._is_listening(runner, task, row.name)
            changed = store.set_queue_status(row.pk, ahead=ahead, is_listening=is_listening)
            announce(changed.envelopes if changed else [])

    def _ahead(self, runner: Runner, task: object, row: TaskState) -> int | None:
        if not isinstance(runner, KnowsPosition) or row.runner_id is None:
            # Its own tasks that were asked for earlier: others' are not known, so it is at least as many.
            return store.count_before(row)
        return runner.ahead(task, row.runner_id)

    def _is_listening(self, runner: Runner, task: object, name: str) -> bool | None:
        if not isinstance(runner, KnowsWorkers):
            return None
        then, known = self._listening.get((runner.name, name), (float("-inf"), None))
        if time.monotonic() - then < LISTENING_FOR_S:
            return known
        known = runner.is_listening(task)
        self._listening[runner.name, name] = (time.monotonic(), known)
        return known


@cache
def _of(pid: int) -> QueueStatusPoller:
    return QueueStatusPoller()


def _asker() -> QueueStatusPoller:
    """This process's: a forked child has its own, for threads are not copied."""
    return _of(os.getpid())
