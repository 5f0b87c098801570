"""How often pages refresh where no script keeps them up to date. `telltale/refresh.html` says so, and stops it."""

from collections.abc import Iterable
from typing import Any, Final

from django.http import HttpRequest

from telltale.core.snapshot import Snapshot
from telltale.pages.responses import retry_after_s

MIN_REFRESH_S: Final = 3
"""A page without JavaScript refreshes at most this often, so that it stays readable."""


def refresh_context(request: HttpRequest, snapshots: Iterable[Snapshot], *, now: float) -> dict[str, Any]:
    """Return what templates need of a page that shows these tasks.

    `refresh_s`: after how many seconds it refreshes; None if all tasks have ended, or the visitor has stopped it with
    `?refresh=off`. `can_refresh`: whether a task has not ended.
    """
    unfinished = [snapshot for snapshot in snapshots if not snapshot.ended]
    is_on = bool(unfinished) and request.GET.get("refresh") != "off"
    after_s = [retry_after_s(snapshot, now=now) for snapshot in unfinished]
    return {"can_refresh": bool(unfinished), "refresh_s": max(MIN_REFRESH_S, min(after_s)) if is_on else None}
