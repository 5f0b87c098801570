"""How long the runs of a task usually take, for the bars of tasks that report no total.

Durations are cached for some seconds and written in batches: they are not worth a statement for each task. While too
few are stored to say what is usual, each is written at once, so that a process that is killed loses none of them. This
module knows a task's name and its durations, nothing else.
"""

import logging
import time
from typing import Final

from django.db import DatabaseError
from django.db.models import QuerySet

from telltale.core.estimate import ENOUGH, DurationHistory
from telltale.models import UsualDuration
from telltale.store.clock import now
from telltale.store.rows import database, duration_rows, in_transaction

logger = logging.getLogger(__name__)

CACHED_S: Final = 10.0
"""How long a usual duration is cached; it changes slowly."""

WRITE_EVERY_S: Final = 10.0
"""Durations of short runs are written together, this often for each task and process."""

MOST_NAMES: Final = 1_000
"""How many names of tasks are remembered: a site may give each piece of work a name of its own."""

KEPT_S: Final = 400 * 86_400.0
"""How long durations are kept after the last run: those of a task that runs once a year are known at its next run."""

KEPT_FEW_S: Final = 30 * 86_400.0
"""The same for fewer than `ENOUGH` durations, which say nothing yet, and for a name that came once never will."""

MOST_STORED: Final = 10_000
"""How many names are kept: beyond that, those go that would be kept for the shortest time."""

_cached: dict[tuple[str, str], tuple[float, tuple[float, float] | None]] = {}
"""By database and task name: (when it was read, the usual duration)."""
_unwritten: dict[tuple[str, str], tuple[float, list[float], bool]] = {}
"""By database and task name: (when durations were last written, those of the runs since, whether few were stored)."""


def usual_duration_s(name: str) -> tuple[float, float] | None:
    """Return (median, 95th percentile) in seconds, at most `CACHED_S` old; None before enough runs are known."""
    read_at, usual_s = _cached.get((database(), name), (float("-inf"), None))
    if time.monotonic() - read_at >= CACHED_S:
        usual_s = _read_usual_s(name)
        _cache(name, usual_s)
    return usual_s


def _cache(name: str, usual_s: tuple[float, float] | None) -> None:
    if len(_cached) >= MOST_NAMES:
        _cached.clear()
    _cached[database(), name] = (time.monotonic(), usual_s)


def _read_usual_s(name: str) -> tuple[float, float] | None:
    durations = duration_rows().filter(pk=name).values_list("durations_s", flat=True).first()
    return DurationHistory.from_list(durations).usual_s if durations else None


def add_duration(name: str, duration_s: float) -> None:
    """Add a run's duration. A run may be missing without harm, so database errors are only logged.

    While fewer than `ENOUGH` are stored, each is written at once. Later, the durations of many short runs of one task
    are written together, every `WRITE_EVERY_S`.
    """
    written_at, unwritten, are_few = _unwritten.get((database(), name), (float("-inf"), [], True))
    unwritten = [*unwritten, duration_s]
    if len(_unwritten) >= MOST_NAMES:
        _unwritten.clear()  # Most are of names that came once.
    if not are_few and time.monotonic() - written_at < WRITE_EVERY_S and duration_s < WRITE_EVERY_S:
        _unwritten[database(), name] = (written_at, unwritten, are_few)
        return
    _unwritten[database(), name] = (time.monotonic(), [], are_few)
    try:
        stored = _write_durations(name, unwritten)
    except DatabaseError as error:
        logger.info("%d durations of %s could not be saved: %s", len(unwritten), name, error)
        return
    _unwritten[database(), name] = (time.monotonic(), [], len(stored.durations_s) < ENOUGH)
    _cache(name, stored.usual_s)


def _write_durations(name: str, durations_s: list[float]) -> DurationHistory:
    """Add them to the stored ones, and return all."""
    # Before the transaction: on MariaDB, two that lock and insert would deadlock.
    duration_rows().get_or_create(pk=name, defaults={"kept_until": now() + KEPT_FEW_S})
    with in_transaction():
        # Locked, so that of two processes that write at once, neither overwrites the other's.
        row = duration_rows().filter(pk=name)
        stored = row.select_for_update().values_list("durations_s", flat=True).first()
        usual = DurationHistory.from_list(stored or ())  # None: it was pruned just now.
        for duration_s in durations_s:
            usual = usual.add(duration_s)
        kept_s = KEPT_FEW_S if usual.usual_s is None else KEPT_S
        row.update(durations_s=usual.to_list(), kept_until=now() + kept_s)
    return usual


def unused_durations(instant: float) -> "QuerySet[UsualDuration]":
    """The durations of tasks that have not run for long, and of the names beyond `MOST_STORED`."""
    latest_first = duration_rows().order_by("-kept_until").values_list("kept_until", flat=True)
    last_kept = latest_first[MOST_STORED - 1 : MOST_STORED].first()
    return duration_rows().filter(kept_until__lt=max(instant, last_kept or 0.0))
