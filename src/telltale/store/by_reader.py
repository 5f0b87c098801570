"""What a read writes as a side effect: the end of what lapsed, the notices that a page shows.

A database that can't be written just now (it is read-only, a replica, or locked) keeps no page from being read: the
reader gets what is there. That is logged once, when it begins and when it ends. Called by `reading` and `notices`.
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

_outage = Outage(logger, "Writing for a reader", "Pages show tasks as they were saved last.")


def write_for_reader(write: Callable[[], R]) -> R | None:
    """What `write` changed; None if the database can't be written just now."""
    # Within a caller's transaction a savepoint keeps that usable. Elsewhere each statement decides its own race.
    is_inside = connections[database()].in_atomic_block
    try:
        with in_transaction() if is_inside else nullcontext():
            changed = write()
    except DatabaseError as error:
        _outage.begin(error, now=time.monotonic())
        return None
    if changed:
        # Where nothing was to be changed, nothing was written, which says nothing.
        _outage.end(now=time.monotonic())
    return changed
