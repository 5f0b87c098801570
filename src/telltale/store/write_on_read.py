"""Writes that are a side effect of reading: ending tasks whose lease expired, taking notices for a page.

If the database can't be written at the moment (read-only, a replica, locked), reading still works: the reader gets the
rows as they are. The log says so when this begins and when it ends.
"""

import logging
import time
from collections.abc import Callable, Collection
from contextlib import nullcontext
from typing import TypeVar

from django.db import DatabaseError, connections

from telltale.core.outage import Outage
from telltale.store.rows import database, in_transaction

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Collection[object])

_outage = Outage(logger, "Writing while reading tasks", "Pages show tasks as they were last saved.")


def write_on_read(write: Callable[[], R]) -> R | None:
    """Return the changes that `write` made; None if the database can't be written at the moment."""
    # In a caller's transaction, a savepoint keeps the transaction usable after an error. Outside of one, each
    # statement decides its own race.
    is_inside = connections[database()].in_atomic_block
    try:
        with in_transaction() if is_inside else nullcontext():
            changes = write()
    except DatabaseError as error:
        _outage.begin(error, now=time.monotonic())
        return None
    if changes:
        # Without changes nothing was written, so it is still unknown whether the database can be written again.
        _outage.end(now=time.monotonic())
    return changes
