"""The store's clock: the database's own, so that machines whose clocks differ agree on leases.

Knows how each database is asked, and by how much this process's clock is off. Must not know tasks. Called by the
store's other modules, and by whoever compares an instant with one that was stored.
"""

import time
from typing import Final

from django.db import DatabaseError, connections

from telltale import conf

CLOCK_CHECK_S: Final = 60.0
"""How often the database is asked for its clock, at most."""

_clock: dict[str, tuple[float, float]] = {}  # alias: (database's clock minus ours, when measured)
_CLOCKS: Final = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM clock_timestamp())",
    "mysql": "SELECT UNIX_TIMESTAMP(NOW(6))",
}


def now() -> float:
    """The store's clock, in seconds since 1970: the database's own, so that machines agree on leases.

    SQLite runs on this machine, so this machine's clock is its clock.
    """
    alias = conf.settings().database
    question = _CLOCKS.get(connections[alias].vendor)
    if question is None:
        return time.time()
    offset, measured_at = _clock.get(alias, (0.0, float("-inf")))
    if time.monotonic() - measured_at >= CLOCK_CHECK_S:
        try:
            with connections[alias].cursor() as cursor:
                before = time.time()
                cursor.execute(question)
                offset = float(cursor.fetchone()[0]) - (before + time.time()) / 2
        except DatabaseError:
            pass  # The last offset serves; whatever is done with the instant will meet the same trouble.
        else:
            _clock[alias] = (offset, time.monotonic())
    return time.time() + offset


def instant(given: float | None) -> float:
    return now() if given is None else given
