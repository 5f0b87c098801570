"""The store's clock. It is the database's clock, so that machines whose clocks differ agree on leases.

Any code that compares the current time with a stored instant uses this clock.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from django.db import DatabaseError, connections

from telltale import conf
from telltale.store.time_limit import time_limit

CLOCK_CHECK_S: Final = 60.0
"""How often the database is asked for its time, at most, unless this machine's clock was set or the machine slept."""

STEP_S: Final = 1.0
"""If this machine's clock differs by more from the monotonic clock than before, it was set, or the machine slept."""

_QUERIES: Final = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "mysql": "SELECT UNIX_TIMESTAMP(NOW(6))",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measurement:
    offset_s: float
    """The database's time minus the monotonic clock."""
    measured_at: float
    """By the monotonic clock."""
    local_offset_s: float
    """This machine's time minus the monotonic clock."""


_measurements: dict[str, _Measurement] = {}  # by alias


def now() -> float:
    """Return the time in seconds since 1970, by the database's clock.

    SQLite runs in this process, so for SQLite it is this machine's clock. Otherwise the time goes on by the monotonic
    clock until the database is asked again: it makes no difference if this machine's clock is set.
    """
    alias = conf.settings().database
    query = _QUERIES.get(connections[alias].vendor)
    if query is None:
        return time.time()
    local_offset_s = time.time() - time.monotonic()
    last = _measurements.get(alias)
    if last is None or _is_outdated(last, local_offset_s):
        with suppress(DatabaseError):  # The last offset is good enough; the caller's own query meets the same error.
            last = _measurements[alias] = _measure(alias, query, local_offset_s)
    return time.monotonic() + (local_offset_s if last is None else last.offset_s)


def _is_outdated(last: _Measurement, local_offset_s: float) -> bool:
    is_old = time.monotonic() - last.measured_at >= CLOCK_CHECK_S
    return is_old or abs(local_offset_s - last.local_offset_s) > STEP_S


def _measure(alias: str, query: str, local_offset_s: float) -> _Measurement:
    with time_limit(), connections[alias].cursor() as cursor:
        before = time.monotonic()
        cursor.execute(query)
        after = time.monotonic()
        offset_s = float(cursor.fetchone()[0]) - (before + after) / 2
    return _Measurement(offset_s=offset_s, measured_at=after, local_offset_s=local_offset_s)


def or_now(instant: float | None) -> float:
    """Return `instant`; for None, the time by the store's clock."""
    return now() if instant is None else instant
