"""Which tasks the list reads: the unfinished ones and those that ended last. So it costs the same after years.

No index has the order of the list, and a filter by a column without an index would read the whole table.
"""

from typing import Any, Final

from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import Count, Q
from django.http import HttpRequest

from telltale import conf, store
from telltale.admin.health import stalled
from telltale.core.states import State

LISTED: Final = 10_000
"""Without a search, the list shows the open tasks and this many that ended last: more would take long."""

FILTERED: Final = 1_000
"""The filters offer the values of this many of the newest open tasks, and of as many that ended last."""

COUNTED: Final = 999
"""The most failures that are counted."""

GROUP: Final = "group_id"
"""The parameter that lists the members of a group."""

FAILED_S: Final = 3_600.0
"""The list counts the failures of this many seconds."""


def is_search(request: HttpRequest) -> bool:
    """Whether the list reads all tasks: for a search, and for the members of a group, which an index finds."""
    return bool(request.GET.get(SEARCH_VAR, "").strip() or request.GET.get(GROUP))


def newest_tasks(rows: Any, *, since: float | None = None) -> Any:
    """Return the rows of open tasks and of the `LISTED` tasks that ended last; with `since`, those that ended later."""
    ended = store.task_rows().exclude(ended_at=None).order_by("-ended_at").values_list("ended_at", flat=True)
    oldest = ended[LISTED:].first()
    if since is not None:
        # One bound: of two, a database may take the wider one for its search in the index.
        return rows.filter(ended_at__gt=since if oldest is None else max(since, oldest))
    return rows if oldest is None else rows.filter(Q(ended_at=None) | Q(ended_at__gt=oldest))


def newest_values(request: HttpRequest, column: str) -> dict[Any, int]:
    """Return how often each value of a column occurs among the newest tasks; read once for each request."""
    known: Any = request
    if not hasattr(known, "_telltale_newest"):
        columns = ("runner", "queue", "name", "label", "owner_id")
        rows = store.task_rows().values(*columns)
        is_open = rows.filter(ended_at=None)[:FILTERED]
        known._telltale_newest = [*is_open, *rows.exclude(ended_at=None).order_by("-ended_at")[:FILTERED]]
    counts: dict[Any, int] = {}
    for row in known._telltale_newest:
        counts[row[column]] = counts.get(row[column], 0) + 1
    return counts


def counts(*, now: float) -> dict[str, int]:
    """Return how many tasks are running and stalled, and how many failed in the last hour: `COUNTED` + 1 if more."""
    running = store.task_rows().filter(ended_at=None, state=State.RUNNING.value)
    is_stalled = stalled(now=now, limits=conf.settings().limits)
    failed = store.task_rows().filter(ended_at__gte=now - FAILED_S, state=State.FAILED.value)
    return running.aggregate(running=Count("pk"), stalled=Count("pk", filter=is_stalled)) | {
        "failed": failed[: COUNTED + 1].count()
    }
