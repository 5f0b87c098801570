"""How long the runs of a task usually take, for the bars of tasks that report no total.

Durations are cached for some seconds and written in batches: they are not worth a statement for each task. While too
few are stored to say what is usual, each is written at once, so that a process that is killed loses none of them. This
module knows a task's name and its durations, nothing else.
"""

import logging
import time
from typing import Final

from django.db import DatabaseError

from telltale.core.estimate import ENOUGH, DurationHistory
from telltale.models import UsualDuration
from telltale.store.rows import database, in_transaction

logger = logging.getLogger(__name__)

CACHED_S: Final = 10.0
"""How long a usual duration is cached; it changes slowly."""

WRITE_EVERY_S: Final = 10.0
"""Durations of short runs are written together, this often for each task and process."""

MOST_NAMES: Final = 1_000
"""How many names of tasks are remembered: a site may give each piece of work a name of its own."""

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
    durations = UsualDuration.objects.using(database()).filter(pk=name).values_list("durations_s", flat=True).first()
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
    rows = UsualDuration.objects.using(database())
    rows.get_or_create(pk=name)  # Before the transaction: on MariaDB, two that lock and insert would deadlock.
    with in_transaction():
        # Locked, so that of two processes that write at once, neither overwrites the other's.
        row = rows.select_for_update().get(pk=name)
        usual = DurationHistory.from_list(row.durations_s)
        for duration_s in durations_s:
            usual = usual.add(duration_s)
        row.durations_s = usual.to_list()
        row.save(using=database(), update_fields=["durations_s"])
    return usual
