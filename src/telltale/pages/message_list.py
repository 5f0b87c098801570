"""The view of a visitor's messages: a page that can be read again, without JavaScript, and a list for programs.

A person who opens the page has seen what it lists. A program that reads the list changes nothing, and neither does a
browser that fetches the page in advance.
"""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from telltale import store
from telltale.core.wire import Malformed
from telltale.models import StoredNotice
from telltale.owners import Owner
from telltale.pages.guards import for_visitors
from telltale.pages.paging import requested_place, url_after
from telltale.pages.responses import json_error, no_store, wants_page


@for_visitors
@require_safe
def messages(request: HttpRequest) -> HttpResponseBase:
    """The visitor's own messages, the newest first. `?before=` continues the list after the page before it."""
    try:
        before = requested_place(request, store.MessagePlace.parse)
    except Malformed as error:
        return no_store(json_error(400, str(error)))
    listed = store.list_messages(Owner.of(request), before=before)
    older = url_after("telltale:messages", listed.older)
    if not wants_page(request):
        return no_store(JsonResponse({"messages": _to_json(listed.messages), "older": older}))
    if not is_prefetch(request):
        store.mark_listed(listed.messages)
    context = {"listed": listed.messages, "older": older, "is_first": before is None, "limit": store.MESSAGES_LISTED}
    return no_store(render(request, "telltale/messages.html", context))


def is_prefetch(request: HttpRequest) -> bool:
    """Whether nobody sees the answer yet: a request by HEAD, or in advance."""
    purposes = [request.headers.get(name, "").lower() for name in ("Sec-Purpose", "Purpose", "X-Moz")]
    return request.method == "HEAD" or any("prefetch" in purpose for purpose in purposes)


def _to_json(rows: Sequence[StoredNotice]) -> list[dict[str, Any]]:
    return [{**row.notice.to_json(), "shown_at": row.shown_at} for row in rows]
