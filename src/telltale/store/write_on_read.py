"""Writes that are a side effect of reading: ending tasks whose lease expired, taking notices for a page.

If the database can't be written at the moment (read-only, a replica, locked), reading still works: the reader gets the
rows as they are. It does not wait for SQLite's write lock, which another transaction may hold for minutes. The log says
so when this begins and when it ends. For `BEAT_S` after that, a read writes nothing: the database was probably
unavailable to the workers too, and they renew their leases meanwhile.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import Final, TypeVar

from django.db import DatabaseError, connections

from telltale import conf
from telltale.core.outage import Outage
from telltale.store.rows import database, in_transaction, task_rows

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Collection[object])

LOCK_WAIT_MS: Final = 50
"""How long a read waits for SQLite's write lock: as long as an ordinary write takes, and no longer."""


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
        with _short_lock_wait(), in_transaction() if is_inside else nullcontext():
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


@contextmanager
def _short_lock_wait() -> Iterator[None]:
    """Within the block, SQLite waits at most `LOCK_WAIT_MS` for a lock on this thread's connection."""
    connection = connections[database()]
    if connection.vendor != "sqlite":
        yield
        return
    connection.ensure_connection()
    sqlite = connection.connection
    [usual_ms] = sqlite.execute("PRAGMA busy_timeout").fetchone()
    sqlite.execute(f"PRAGMA busy_timeout = {min(usual_ms, LOCK_WAIT_MS)}")
    try:
        yield
    finally:
        if connection.connection is sqlite:
            sqlite.execute(f"PRAGMA busy_timeout = {usual_ms}")
