"""The views under Telltale's URLs (`urls.py`): one task, cancel and retry, tickets, notices, polling.

`permissions` decides who may see a task; `dispatch.control` and `store` carry actions out; `responses` and the
templates make the responses. A task that does not exist and a task of another owner get the same response.

`guards` says who may call a view: a visitor, the bearer of a ticket, or anyone. Behind Django's
`LoginRequiredMiddleware`, the pages and actions need a signed-in user. The requests that a page's script makes in the
background do not, since a script can't use a login page.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from telltale import conf, store
from telltale.core import reasons
from telltale.core.health import can_cancel, health
from telltale.core.policy import Grant
from telltale.core.wire import Malformed
from telltale.dispatch import control
from telltale.dispatch.queue_status import request_queue_status
from telltale.live import tickets
from telltale.models import TaskState
from telltale.pages import permissions, task_text
from telltale.pages.actions import ActionRefused, cancel_task, retry_task
from telltale.pages.guards import for_anyone, for_tickets, for_visitors, refuse_ticket
from telltale.pages.message_list import is_prefetch
from telltale.pages.permissions import Action, is_owner, may_act, may_see
from telltale.pages.refreshing import refresh_context
from telltale.pages.responses import json_body, json_error, no_store, not_found, return_url, task_answer, wants_page
from telltale.pages.timeline import moments, phase
from telltale.transports.base import Hello
from telltale.transports.polling import response_text

MAX_HOLDER: Final = 64
"""The most characters of the name that a page gives itself in order to hold a notice."""


@for_visitors
@require_safe
def task(request: HttpRequest, task_id: str) -> HttpResponseBase:
    """One task: a page with live updates, or JSON with an ETag."""
    row = _visible_task(request, task_id)
    if row is None:
        return not_found(request)
    request_queue_status([row.snapshot], now=store.now())
    if wants_page(request):
        return no_store(render(request, "telltale/task.html", _page_context(request, row)))
    full = task_answer(request, row)
    response = get_conditional_response(request, etag=full.headers["ETag"], response=full) or full
    if "Retry-After" in full.headers:  # A 304 lacks it.
        response.headers["Retry-After"] = full.headers["Retry-After"]
    return response


@for_visitors
@require_safe
def timeline(request: HttpRequest, task_id: str) -> HttpResponseBase:
    """What happened to a task, as JSON for the script of its page."""
    row = _visible_task(request, task_id)
    if row is None:
        return not_found(request)
    lines = [moment.to_json() for moment in moments(row)]
    return no_store(JsonResponse({"phase": phase(row.snapshot), "moments": lines}))


@for_visitors
@require_POST
def cancel(request: HttpRequest, task_id: str) -> HttpResponseBase:
    """Request the cancellation of a task that is the visitor's own, or on which they may act."""
    return _act(request, task_id, "cancel", cancel_task)


@for_visitors
@require_POST
def retry(request: HttpRequest, task_id: str) -> HttpResponseBase:
    """Run such a task again, after it failed, was cancelled or was lost."""
    return _act(request, task_id, "retry", retry_task)


def _act(
    request: HttpRequest, task_id: str, action: Action, carry_out: Callable[[TaskState], TaskState]
) -> HttpResponseBase:
    row = store.get_task(task_id)
    if row is None or not may_act(request, row, action):
        return not_found(request)
    try:
        row = carry_out(row)
    except ActionRefused as refusal:
        return _refuse_action(request, row, refusal)
    return _action_done(request, row)


@partial(for_visitors, is_walled=False)
@require_POST
def ticket(request: HttpRequest) -> HttpResponseBase:
    """A new ticket for the requested topics, without those that the visitor may not follow."""
    try:
        requested = _requested_topics(request)
    except Malformed as error:
        return no_store(json_error(400, str(error)))
    granted = permissions.ticket_for(request, requested)
    if requested and not granted.topics:
        return no_store(json_error(404, _("These topics don't exist, or you may not follow them.")))
    return no_store(JsonResponse(granted.to_json()))


def _requested_topics(request: HttpRequest) -> list[str]:
    """Return the topics in the request's body; raises `Malformed`."""
    topics = json_body(request).get("topics")
    if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
        raise Malformed(_('Send {"topics": ["task:…"]}: a list of strings.'))
    if len(topics) > tickets.MAX_TOPICS:
        sizes = {"n": tickets.MAX_TOPICS, "count": len(topics)}
        raise Malformed(_("A ticket holds at most %(n)s topics, not %(count)s. Request several tickets.") % sizes)
    return topics


@partial(for_tickets, is_with_session=True)
@require_POST
def take_notice(request: HttpRequest, grant: Grant, notice_id: str) -> HttpResponseBase:
    """Take a notice for this page: granted to one page only, once.

    A page that names itself (`holder`) holds the notice, and confirms with `shown` that it has shown it. To a page that
    does not, the notice counts as shown at once.
    """
    try:
        holder, is_shown = _holder(request)
    except Malformed as error:
        return json_error(400, str(error))
    if not holder:
        return JsonResponse({"granted": store.take_notice(notice_id, grant.topics)})
    if is_shown:
        store.confirm_notice(notice_id, grant.topics, holder)
        return JsonResponse({"shown": True})
    hold = store.hold_notice(notice_id, grant.topics, holder)
    if hold.seconds is None:
        return JsonResponse({"granted": hold.granted})
    name = "confirm_within_s" if hold.granted else "retry_after_s"
    return JsonResponse({"granted": hold.granted, name: round(hold.seconds, 3)})


def _holder(request: HttpRequest) -> tuple[str, bool]:
    """Return the name that the page gave itself, and whether it has shown the notice; raises `Malformed`."""
    body = json_body(request) if request.content_type == "application/json" else {}
    holder, is_shown = body.get("holder", ""), body.get("shown", False)
    # Of printable characters: no database stores a lone surrogate, and PostgreSQL no NUL.
    is_name = isinstance(holder, str) and len(holder) <= MAX_HOLDER and holder.isprintable()
    if not is_name or not isinstance(is_shown, bool):
        raise Malformed(
            _('Send {"holder": "…", "shown": false}: a text of at most %(n)s characters.') % {"n": MAX_HOLDER}
        )
    if is_shown and not holder:
        raise Malformed(_('Send "holder" with "shown": the text that took the notice.'))
    return holder, is_shown


@for_anyone
def live(request: HttpRequest) -> HttpResponseBase:
    """The live URL without `telltale.asgi`: polls are answered at once, and the response says when to poll again."""
    if request.method not in {"GET", "POST"}:
        return json_error(405, _("Use GET or POST."))
    if "text/event-stream" in request.headers.get("Accept", ""):
        return json_error(
            406,
            _("This server can't stream. Poll with Accept: application/json, or serve the site with telltale.asgi."),
        )
    response: HttpResponseBase = _poll(request)
    return response


@for_tickets
def _poll(request: HttpRequest, grant: Grant) -> HttpResponseBase:
    try:
        hello = Hello.read(json_body(request))
    except Malformed:
        return refuse_ticket(reasons.MALFORMED)
    now, settings = store.now(), conf.settings()
    envelopes = store.read_topics(grant.topics, now=now)
    request_queue_status([envelope.snapshot for envelope in envelopes if envelope.snapshot is not None], now=now)
    text = response_text(grant, hello, envelopes, limits=settings.limits, now=now, poll_after_s=settings.poll_s)
    return HttpResponse(text, content_type="application/json")


# Shared by the views


def _visible_task(request: HttpRequest, task_id: str) -> TaskState | None:
    row = store.get_task(task_id)
    return row if row is not None and may_see(request, row) else None


def _page_context(request: HttpRequest, row: TaskState) -> dict[str, Any]:
    snapshot, now, is_own = row.snapshot, store.now(), is_owner(request, row)
    task_health = health(snapshot, now=now, limits=conf.settings().limits)
    return {
        "task": row,
        "snapshot": snapshot,
        "health": task_health,
        "phase": phase(snapshot),
        "moments": moments(row),
        "keeps_running": task_text.keeps_running(snapshot, task_health, now=now),
        "can_cancel": may_act(request, row, "cancel") and can_cancel(snapshot),
        "can_retry": may_act(request, row, "retry") and control.why_no_retry(row) is None,
        **refresh_context(request, [snapshot], now=now),
        # The page itself shows the end, so its notice must not appear as a toast as well.
        "notices": store.take_notices(row.pk) if is_own and snapshot.ended and not is_prefetch(request) else [],
    }


def _action_done(request: HttpRequest, row: TaskState) -> HttpResponseBase:
    """Return the task after an action; browsers are redirected back to the page of the button."""
    url = reverse("telltale:task", args=[row.pk])
    if not wants_page(request):
        response = task_answer(request, row, status=200 if row.snapshot.ended else 202)
        response.headers["Location"] = url
        return response
    return no_store(HttpResponse(status=303, headers={"Location": return_url(request, otherwise=url)}))


def _refuse_action(request: HttpRequest, row: TaskState, refusal: ActionRefused) -> HttpResponseBase:
    message, status = str(refusal), refusal.status
    if not wants_page(request):
        return no_store(json_error(status, message))
    return no_store(render(request, "telltale/action_refused.html", {"task": row, "message": message}, status=status))
