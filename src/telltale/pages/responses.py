"""How the views answer: page or JSON, and what a task is in JSON. One refusal for "not there" and "not yours".

Knows requests and rows; decides nothing about tasks.
"""

import math
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.translation import gettext as _

from telltale import conf, store
from telltale.core.health import health
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.core.wire import INBOUND_BYTES, Malformed, decode
from telltale.dispatch.control import why_no_retry
from telltale.models import TaskState
from telltale.pages.permissions import is_owner

LEAST_RETRY_S: Final = 1
MOST_RETRY_S: Final = 15
ASKS_TO_THE_END: Final = 10
"""Of a task whose time left is known, one who polls as told asks about this often."""


def wants_page(request: HttpRequest) -> bool:
    """Whether a browser asks. Who says nothing, or takes anything, is a program: browsers name text/html."""
    return request.get_preferred_type(["application/json", "text/html"]) == "text/html"


def no_store(response: HttpResponseBase) -> HttpResponseBase:
    """Nobody may keep it, and it depends on who asks and how."""
    patch_cache_control(response, no_store=True, private=True)
    patch_vary_headers(response, ["Accept", "Cookie"])
    return response


def refused(status: int, words: str) -> JsonResponse:
    """An error, in words that name the mend."""
    return JsonResponse({"error": words}, status=status)


def absent(request: HttpRequest) -> HttpResponseBase:
    """The one answer for what is not there and what is not the asker's."""
    words = _("There is no such task, or it is not yours.")
    if wants_page(request):
        raise Http404(words)
    return no_store(refused(404, words))


def body_of(request: HttpRequest) -> dict[str, Any]:
    """The JSON object that was sent, or nothing; raises `Malformed`."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > INBOUND_BYTES:
        raise Malformed(f"A request's body has more than {INBOUND_BYTES:,} bytes.")
    return decode(request.body) if request.body.strip() else {}


def task_json(request: HttpRequest, task: TaskState, *, now: float) -> dict[str, Any]:
    """A task's public state as programs get it, with what this asker may do."""
    snapshot, mine = task.snapshot, is_owner(request, task)
    return snapshot.to_json() | {
        "health": health(snapshot, now=now, limits=conf.settings()),
        "now": now,
        "url": reverse("telltale:task", args=[task.pk]),
        "can_cancel": mine and can_cancel(snapshot),
        "can_retry": mine and why_no_retry(task) is None,
    }


def task_answer(request: HttpRequest, task: TaskState, *, status: int = 200) -> HttpResponse:
    """The task as JSON, with its ETag, and with when to ask again while it goes on."""
    now = store.now()
    data = task_json(request, task, now=now)
    response = JsonResponse(data, status=status)
    # `now` is in every answer and no change: so the tag is of the state alone, and weak.
    order = ".".join(str(int(part)) for part in task.snapshot.order)
    can = f"{int(data['can_cancel'])}{int(data['can_retry'])}"
    response.headers["ETag"] = f'W/"{order}.{data["health"] or "-"}.{can}"'
    if not task.snapshot.ended:
        response.headers["Retry-After"] = str(retry_after_s(task.snapshot, now=now))
    no_store(response)
    return response


def can_cancel(snapshot: Snapshot) -> bool:
    """Whether asking for its end would do something."""
    return not snapshot.ended and not snapshot.cancel_requested and snapshot.no_cancel is None


def retry_after_s(snapshot: Snapshot, *, now: float) -> int:
    """When it is worth asking again: whole seconds, at least 1."""
    if snapshot.state is State.RETRYING and snapshot.due_at is not None:
        wanted = snapshot.due_at - now
    elif snapshot.remaining_s is not None:
        wanted = snapshot.remaining_s / ASKS_TO_THE_END
    elif snapshot.usual_s is not None and snapshot.started_at is not None:
        wanted = snapshot.usual_s[0] / ASKS_TO_THE_END
    else:
        # Nothing is known but how long it has been so: what has taken long will take long.
        wanted = (now - (snapshot.started_at or snapshot.created_at)) / ASKS_TO_THE_END
    return max(LEAST_RETRY_S, min(MOST_RETRY_S, math.ceil(wanted) if math.isfinite(wanted) else MOST_RETRY_S))
