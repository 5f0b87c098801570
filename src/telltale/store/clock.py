"""The store's clock. It is the database's clock, so that machines whose clocks differ agree on leases.

Any code that compares the current time with a stored instant uses this clock.
"""

import time
from typing import Final

from django.db import DatabaseError, connections

from telltale import conf

CLOCK_CHECK_S: Final = 60.0
"""How often the database is asked for its time, at most."""

_offsets: dict[str, tuple[float, float]] = {}  # by alias: (database time minus local time, when that was measured)
_QUERIES: Final = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "mysql": "SELECT UNIX_TIMESTAMP(NOW(6))",
}


def now() -> float:
    """Return the time in seconds since 1970, by the database's clock.

    SQLite runs in this process, so for SQLite it is this machine's clock.
    """
    alias = conf.settings().database
    query = _QUERIES.get(connections[alias].vendor)
    if query is None:
        return time.time()
    offset, measured_at = _offsets.get(alias, (0.0, float("-inf")))
    if time.monotonic() - measured_at >= CLOCK_CHECK_S:
        try:
            with connections[alias].cursor() as cursor:
                before = time.time()
                cursor.execute(query)
                offset = float(cursor.fetchone()[0]) - (before + time.time()) / 2
        except DatabaseError:
            pass  # The last offset is good enough; the caller's own query will meet the same error.
        else:
            _offsets[alias] = (offset, time.monotonic())
    return time.time() + offset


def or_now(instant: float | None) -> float:
    """Return `instant`; for None, the time by the store's clock."""
    return now() if instant is None else instant
