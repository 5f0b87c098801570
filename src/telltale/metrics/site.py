"""The metrics of the whole site, read from the database.

The cost of their queries grows with the open tasks and with those that ended within the last hour, not with history.
"""

from collections.abc import Mapping
from typing import Any, Final

from django.db import connections
from django.db.models import Count, Min, Q
from django.db.models.functions import Coalesce

from telltale import conf, store
from telltale.core.states import State
from telltale.metrics.metric import Kind, Metric

RECENT_S: Final = 3_600.0
"""Ends of this many seconds are counted, by an index."""

COUNTED: Final = 1_000
"""The most ends of one state that are counted."""


def _rows() -> Any:
    """Return the rows, by a connection that works: an exporter's thread has no request that replaces a broken one."""
    connection = connections[conf.settings().database]
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
    return store.task_rows()


def _recent_ends() -> Mapping[str, float]:
    recent = _rows().filter(ended_at__gte=store.now() - RECENT_S)
    return {state.value: float(recent.filter(state=state.value)[:COUNTED].count()) for state in State if state.ended}


def _open_tasks() -> Mapping[str, float]:
    rows = _rows().filter(ended_at=None).values_list("state").annotate(count=Count("pk")).order_by()
    return dict.fromkeys((state.value for state in State if not state.ended), 0.0) | dict(rows)


def _longest_wait_s() -> float:
    rows, now = _rows(), store.now()
    waiting = rows.filter(ended_at=None, state=State.QUEUED.value)
    due = waiting.filter(Q(due_at=None) | Q(due_at__lte=now))
    # A task that a person runs again is due from then on, however old it is.
    since = due.aggregate(since=Min(Coalesce("due_at", "created_at")))["since"]
    return 0.0 if since is None else max(0.0, now - since)


def _overdue() -> float:
    """Return how many leases expired, of tasks that no page has read since."""
    return float(_rows().filter(lease_until__lt=store.now(), ended_at=None).count())


SITE: Final = (
    Metric(
        name="telltale_tasks",
        meaning="Tasks that have not ended, by state.",
        kind=Kind.GAUGE,
        label="state",
        read=_open_tasks,
    ),
    Metric(
        name="telltale_recent_ends",
        meaning="Tasks that ended within the last hour, by state: at most 1,000 of each.",
        kind=Kind.GAUGE,
        label="state",
        read=_recent_ends,
    ),
    Metric(
        name="telltale_longest_wait_seconds",
        meaning="How long the oldest of the queued tasks that are due has been waiting.",
        kind=Kind.GAUGE,
        read=_longest_wait_s,
    ),
    Metric(
        name="telltale_silent_tasks",
        meaning="Tasks whose worker no longer renews its lease, or that no worker began in time.",
        kind=Kind.GAUGE,
        read=_overdue,
    ),
)
