"""Writes that are a side effect of reading: ending tasks whose lease expired, taking notices for a page.

If the database can't be written at the moment (read-only, a replica, locked), reading still works: the reader gets the
rows as they are. The log says so when this begins and when it ends. For `BEAT_S` after that, a read writes nothing: the
database was probably unavailable to the workers too, and they renew their leases meanwhile.
"""

import logging
import time
from collections.abc import Callable, Collection
from contextlib import nullcontext
from typing import TypeVar

from django.db import DatabaseError, connections

from telltale import conf
from telltale.core.outage import Outage
from telltale.store.rows import database, in_transaction, task_rows

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Collection[object])


class _Pause:
    """Whether a read may write: not before a beat has passed since the database was seen to work again."""

    def __init__(self) -> None:
        self._has_failed = False
        self._ends_at = 0.0
        """By the monotonic clock."""

    def begin(self) -> None:
        """Note that a write failed."""
        self._has_failed = True

    def is_over(self) -> bool:
        """Whether a read may write. Raises `DatabaseError` if the database still can't be read."""
        if self._has_failed:
            task_rows().exists()
            self._has_failed, self._ends_at = False, time.monotonic() + conf.settings().beat_s
        return time.monotonic() >= self._ends_at


_pause = _Pause()
_outage = Outage(logger, "Writing while reading tasks", "Pages show tasks as they were last saved.")


def write_on_read(write: Callable[[], R]) -> R | None:
    """Return the changes that `write` made; None if the database can't be written at the moment."""
    # In a caller's transaction, a savepoint keeps the transaction usable after an error. Outside of one, each
    # statement decides its own race.
    is_inside = connections[database()].in_atomic_block
    try:
        with in_transaction() if is_inside else nullcontext():
            if not _pause.is_over():
                return None
            changes = write()
    except DatabaseError as error:
        if not is_inside:  # A caller's transaction may be read-only by its own choice.
            _pause.begin()
        _outage.begin(error, now=time.monotonic())
        return None
    if changes:
        # Without changes nothing was written, so it is still unknown whether the database can be written again.
        _outage.end(now=time.monotonic())
    return changes
