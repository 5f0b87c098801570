"""The pages and answers under Telltale's addresses (`urls.py`): a person's tasks, what they may do, their tickets.

Each view is as short as its rule. Who may see what is decided in `permissions`, what happens in `dispatch.control`
and `store`; how it is said, in `answers` and the templates. "Not there" and "not yours" are one answer.

Behind Django's `LoginRequiredMiddleware`, the pages and what is done to tasks need a signed-in user. What a page's
script asks for in the background does not (`login_not_required`): a login page is no answer to a script.
"""

from functools import wraps
from typing import Any, Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_POST, require_safe

from telltale import conf, store
from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.core.health import health
from telltale.core.policy import Grant
from telltale.core.wire import Malformed
from telltale.dispatch import control
from telltale.dispatch.queue_status import request_queue_status
from telltale.dispatch.runner import EnqueueFailed
from telltale.live import tickets
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.pages import permissions
from telltale.pages.permissions import is_owner, may_see
from telltale.pages.responses import (
    absent,
    body_of,
    can_cancel,
    no_store,
    refused,
    retry_after_s,
    task_answer,
    task_json,
    wants_page,
)
from telltale.transports.base import STATUS, Hello
from telltale.transports.http import bearer
from telltale.transports.polling import POLICY, Answer

NEWEST: Final = 50
"""Tasks on the list."""

LEAST_REFRESH_S: Final = 3
"""A page that loads itself anew does so at most this often: somebody may be reading it."""


@require_safe
def tasks(request: HttpRequest) -> HttpResponseBase:
    """The asker's own tasks: what is open first, then the newest."""
    mine, now = _mine(request), store.now()
    if not wants_page(request):
        return no_store(JsonResponse({"tasks": [task_json(request, task, now=now) for task in mine], "now": now}))
    open_ones = [task.snapshot for task in mine if not task.snapshot.ended]
    pace_s = min((retry_after_s(snapshot, now=now) for snapshot in open_ones), default=None)
    context = {"tasks": mine, "refresh_s": _refresh_s(request, pace_s)}
    return no_store(render(request, "telltale/tasks.html", context))


@require_safe
def task(request: HttpRequest, task_id: str) -> HttpResponseBase:
    """One task: a page that comes alive, or JSON with an ETag."""
    row = _visible(request, task_id)
    if row is None:
        return absent(request)
    request_queue_status([row.snapshot], now=store.now())
    if wants_page(request):
        return no_store(render(request, "telltale/task.html", _on_page(request, row)))
    answer = task_answer(request, row)
    said = get_conditional_response(request, etag=answer.headers["ETag"], response=answer) or answer
    if "Retry-After" in answer.headers:
        said.headers["Retry-After"] = answer.headers["Retry-After"]
    return said


@csrf_protect
@require_POST
def cancel(request: HttpRequest, task_id: str) -> HttpResponseBase:
    """Ask for the end of one's own task."""
    row = _own(request, task_id)
    if row is None:
        return absent(request)
    snapshot = row.snapshot
    if snapshot.no_cancel is not None and not snapshot.ended:
        return _cannot(request, row, _("It can't be stopped just now: %(why)s") % {"why": snapshot.no_cancel})
    if can_cancel(snapshot) and control.cancel(row):
        row = store.get_task(row.pk) or row
    elif snapshot.ended:
        return _cannot(request, row, _("It has ended already, so there is nothing to stop."))
    return _done(request, row)


@csrf_protect
@require_POST
def retry(request: HttpRequest, task_id: str) -> HttpResponseBase:
    """Run one's own task again, after it failed, was cancelled or was lost."""
    row = _own(request, task_id)
    if row is None:
        return absent(request)
    try:
        row = control.retry(row)
    except control.CannotRetry as why:
        return _cannot(request, row, str(why))
    except EnqueueFailed:
        return _cannot(request, row, _("It could not be started. Try again later."), status=503)
    return _done(request, row)


@login_not_required
@csrf_protect
@require_POST
def ticket(request: HttpRequest) -> HttpResponseBase:
    """A new ticket for the topics that are asked for; those that the asker may not follow are not in it."""
    try:
        wanted = body_of(request).get("topics")
        if not isinstance(wanted, list) or not all(isinstance(topic, str) for topic in wanted):
            raise Malformed(_('Send {"topics": ["task:…"]}: a list of texts.'))
        if len(wanted) > tickets.MAX_TOPICS:
            raise Malformed(_("A ticket holds at most %(n)s topics.") % {"n": tickets.MAX_TOPICS})
    except Malformed as error:
        return no_store(refused(400, str(error)))
    granted = permissions.for_asker(request, wanted)
    if wanted and not granted.topics:
        return no_store(refused(404, _("There is nothing there that you may follow.")))
    said = {"ticket": granted.ticket, "topics": sorted(granted.topics), "expires_at": granted.expires_at}
    return no_store(JsonResponse(said))


def _by_ticket(view: Any) -> Any:
    """Opened by the ticket in `Authorization` alone: no cookie counts, so there is nothing to forge."""

    @login_not_required
    @csrf_exempt
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            grant = tickets.verify(bearer(request.headers.get("Authorization", "")))
        except tickets.Refused as refusal:
            return _turned_away(refusal.reason)
        return no_store(view(request, grant, *args, **kwargs))

    return guarded


@_by_ticket
@require_POST
def take_notice(request: HttpRequest, grant: Grant, notice_id: str) -> HttpResponseBase:
    """Whether this page may show the notice: said to one page of all, once."""
    return JsonResponse({"granted": store.take_notice(notice_id, grant.topics)})


@login_not_required
@csrf_exempt
def live(request: HttpRequest) -> HttpResponseBase:
    """The live address without `telltale.asgi`: polls are answered at once, at the pace that the settings say."""
    if request.method not in {"GET", "POST"}:
        return refused(405, _("Use GET or POST."))
    if "text/event-stream" in request.headers.get("Accept", ""):
        return refused(
            406, _("This server can't stream: ask with Accept: application/json, or serve it by telltale.asgi.")
        )
    response: HttpResponseBase = _poll(request)
    return response


@_by_ticket
def _poll(request: HttpRequest, grant: Grant) -> HttpResponseBase:
    try:
        hello = Hello.read(body_of(request))
    except Malformed:
        return _turned_away(reasons.MALFORMED)
    now, s = store.now(), conf.settings()
    limits = {"quiet_s": s.quiet_s, "stalled_s": s.stalled_s, "lease_s": s.lease_s}
    connection = Connection(opened_at=now, policy=POLICY, limits=limits)
    connection.admit(grant, have=hello.have, seen=hello.seen, now=now)
    envelopes = store.read_topics(grant.topics, now=now)
    request_queue_status([envelope.snapshot for envelope in envelopes if envelope.snapshot is not None], now=now)
    connection.catch_up(envelopes)
    told = Answer()
    while (frame := connection.take(now)) is not None:
        told.add(frame)
    return HttpResponse(told.text(connection, now, poll_after_s=s.poll_s), content_type="application/json")


# What the views share


def _mine(request: HttpRequest) -> list[TaskState]:
    newest = store.task_rows_of(Owner.of(request)).select_related("owner").order_by("-created_at")[:NEWEST]
    found = list(newest)
    lapsed = [row.pk for row in found if row.lease_until is not None and row.lease_until < store.now()]
    if lapsed and store.end_lapsed(lapsed):
        found = list(newest.all())
    return sorted(found, key=lambda row: row.ended_at is not None)


def _visible(request: HttpRequest, task_id: str) -> TaskState | None:
    row = store.get_task(task_id)
    return row if row is not None and may_see(request, row) else None


def _own(request: HttpRequest, task_id: str) -> TaskState | None:
    row = store.get_task(task_id)
    return row if row is not None and is_owner(request, row) else None


def _on_page(request: HttpRequest, row: TaskState) -> dict[str, Any]:
    snapshot, now, mine = row.snapshot, store.now(), is_owner(request, row)
    pace_s = None if snapshot.ended else retry_after_s(snapshot, now=now)
    return {
        "task": row,
        "snapshot": snapshot,
        "health": health(snapshot, now=now, limits=conf.settings()),
        "can_cancel": mine and can_cancel(snapshot),
        "can_retry": mine and control.why_no_retry(row) is None,
        "refresh_s": _refresh_s(request, pace_s),
        # The page says the end itself, so no toast needs to say it again.
        "notices": store.take_notices(row.pk) if mine and snapshot.ended else [],
    }


def _refresh_s(request: HttpRequest, pace_s: int | None) -> int | None:
    if pace_s is None or request.GET.get("refresh") == "off":
        return None
    return max(LEAST_REFRESH_S, pace_s)


def _done(request: HttpRequest, row: TaskState) -> HttpResponseBase:
    """It is done, or will be: browsers go back to where they can see it."""
    if not wants_page(request):
        answer = task_answer(request, row, status=200 if row.snapshot.ended else 202)
        answer.headers["Location"] = reverse("telltale:task", args=[row.pk])
        return answer
    return no_store(HttpResponse(status=303, headers={"Location": _back(request, row)}))


def _back(request: HttpRequest, row: TaskState) -> str:
    asked = request.POST.get("next", "")
    is_safe = url_has_allowed_host_and_scheme(asked, {request.get_host()}, require_https=request.is_secure())
    return asked if is_safe else reverse("telltale:task", args=[row.pk])


def _cannot(request: HttpRequest, row: TaskState, words: str, *, status: int = 409) -> HttpResponseBase:
    if not wants_page(request):
        return no_store(refused(status, words))
    return no_store(render(request, "telltale/cannot.html", {"task": row, "words": words}, status=status))


def _turned_away(reason: reasons.Reason) -> HttpResponseBase:
    bye = {"type": "bye", "code": reason.code, "reason": reason.word, "again": reason.again}
    return no_store(JsonResponse(bye, status=STATUS.get(reason, 400)))
