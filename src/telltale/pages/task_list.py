"""The view of a visitor's tasks: a page that works without JavaScript, and a list for programs.

A person may have 100,000 tasks: each page of the list says where the next one begins.
"""

from typing import Final

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from telltale import store
from telltale.core.wire import Malformed
from telltale.dispatch.queue_status import request_queue_status
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.pages.guards import for_visitors
from telltale.pages.paging import requested_place, url_after
from telltale.pages.permissions import may_see
from telltale.pages.refreshing import refresh_context
from telltale.pages.responses import json_error, no_store, task_json, wants_page

PAGE_SIZE: Final = 50
"""The most tasks on a page."""


@for_visitors
@require_safe
def tasks(request: HttpRequest) -> HttpResponseBase:
    """The visitor's own tasks: open ones first, the newest first. `?before=` continues after the page before it.

    Programs may name tasks, `?id=…&id=…`, and get those of them that they may see.
    """
    ids = request.GET.getlist("id")
    if ids and not wants_page(request):
        return _named(request, ids)
    try:
        before = requested_place(request, store.TaskPlace.parse)
    except Malformed as error:
        return no_store(json_error(400, str(error)))
    listed, now = store.list_tasks(Owner.of(request), after=before, size=PAGE_SIZE), store.now()
    snapshots = [row.snapshot for row in listed.tasks]
    request_queue_status(snapshots, now=now)
    if not wants_page(request):
        return _as_json(request, listed.tasks, now=now, older=url_after("telltale:tasks", listed.next))
    context = {"tasks": listed.tasks, "older": str(listed.next or ""), "is_first": before is None}
    return no_store(render(request, "telltale/tasks.html", context | refresh_context(request, snapshots, now=now)))


def _named(request: HttpRequest, ids: list[str]) -> HttpResponseBase:
    if len(ids) > PAGE_SIZE:
        sizes = {"n": PAGE_SIZE, "count": len(ids)}
        return no_store(json_error(400, _("Name at most %(n)s tasks, not %(count)s.") % sizes))
    return _as_json(request, [row for row in store.get_tasks(ids) if may_see(request, row)], now=store.now())


def _as_json(request: HttpRequest, rows: list[TaskState], *, now: float, older: str | None = None) -> HttpResponseBase:
    found = [task_json(request, row, now=now) for row in rows]
    return no_store(JsonResponse({"tasks": found, "now": now, "older": older}))
