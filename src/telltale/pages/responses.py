"""The responses of the views: a page or JSON, a task as JSON, and errors.

A task that does not exist and a task of another owner get the same response. Nothing here changes tasks.
"""

import math
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from telltale import conf, store
from telltale.core.health import can_cancel, health
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.core.wire import INBOUND_BYTES, Malformed, decode
from telltale.dispatch.control import is_repeatable, why_no_retry
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.pages.permissions import is_owner, may_act

MIN_RETRY_S: Final = 1
MAX_RETRY_S: Final = 15
POLLS_TO_THE_END: Final = 10
"""A client that follows `Retry-After` polls a task about this many times until its end, if the time left is known."""


def wants_page(request: HttpRequest) -> bool:
    """Whether the client prefers HTML. Browsers name text/html; without an Accept header, or with */*, JSON is sent.

    htmx accepts */* and shows HTML.
    """
    return request.get_preferred_type(["application/json", "text/html"]) == "text/html" or (
        is_from_htmx(request) and accepts_anything(request)
    )


def is_from_htmx(request: HttpRequest) -> bool:
    """Whether htmx sent the request."""
    return request.headers.get("HX-Request") == "true"


def accepts_anything(request: HttpRequest) -> bool:
    """Whether the client names no type: its Accept header is */*."""
    return request.headers.get("Accept", "").partition(";")[0].strip() == "*/*"


def return_url(request: HttpRequest, *, otherwise: str) -> str:
    """Return the address of the page with the button, as its form says; `otherwise` if that is none of this site's."""
    url = request.POST.get("next", "")
    # A header holds no control characters, such as the end of a line.
    is_safe = url.isprintable() and url_has_allowed_host_and_scheme(
        url, {request.get_host()}, require_https=request.is_secure()
    )
    return url if is_safe else otherwise


def no_store(response: HttpResponseBase) -> HttpResponseBase:
    """Forbid caching, and declare that the response varies by Accept, Cookie and the header of htmx."""
    patch_cache_control(response, no_store=True, private=True)
    patch_vary_headers(response, ["Accept", "Cookie", "HX-Request"])
    return response


def json_error(status: int, message: str) -> JsonResponse:
    """Return an error as JSON; the message says what to do about it."""
    return JsonResponse({"error": message}, status=status)


def not_found(request: HttpRequest) -> HttpResponseBase:
    """Return 404, the same for a task that does not exist and for one that the visitor may not see."""
    message = _("This task doesn't exist, or it isn't yours.")
    # Reading who asks makes Django add `Vary: Cookie`, which it does for a task that exists.
    Owner.of(request)
    if wants_page(request):
        raise Http404(message)
    return no_store(json_error(404, message))


def json_body(request: HttpRequest) -> dict[str, Any]:
    """Return the JSON object in the request's body, {} if the body is empty; raises `Malformed`."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > INBOUND_BYTES:
        raise Malformed(f"The request's body is too large: at most {INBOUND_BYTES:,} bytes are allowed.")
    return decode(request.body) if request.body.strip() else {}


def task_json(request: HttpRequest, task: TaskState, *, now: float) -> dict[str, Any]:
    """Return the task's snapshot for programs, with its health, its URL and the actions that the visitor may take."""
    snapshot = task.snapshot
    return snapshot.to_json() | {
        "health": health(snapshot, now=now, limits=conf.settings().limits),
        "now": now,
        "url": reverse("telltale:task", args=[task.pk]),
        "can_cancel": may_act(request, task, "cancel") and can_cancel(snapshot),
        "can_retry": may_act(request, task, "retry") and why_no_retry(task) is None,
        "actions": _actions(request, task),
    }


def _actions(request: HttpRequest, task: TaskState) -> list[str]:
    """The actions that the visitor may take at some time; the task's state decides whether now."""
    is_allowed = {"cancel": may_act(request, task, "cancel"), "retry": may_act(request, task, "retry")}
    return [action for action in is_allowed if is_allowed[action] and (action == "cancel" or is_repeatable(task))]


def answer_json(request: HttpRequest, task: TaskState, *, now: float) -> dict[str, Any]:
    """Return `task_json`, for the task's owner with what it returned, if that was kept."""
    data = task_json(request, task, now=now)
    if task.has_return_value and is_owner(request, task):
        data["return_value"] = task.return_value
    return data


def task_answer(request: HttpRequest, task: TaskState, *, status: int = 200) -> HttpResponse:
    """Return the task as JSON with an ETag, and with `Retry-After` until its end. Its owner gets what it returned."""
    now = store.now()
    data = answer_json(request, task, now=now)
    response = JsonResponse(data, status=status)
    # The tag is weak: it leaves out `now`, which differs in every response.
    order = ".".join(str(int(part)) for part in task.snapshot.order)
    actions = f"{int(data['can_cancel'])}{int(data['can_retry'])}{int('return_value' in data)}"
    response.headers["ETag"] = f'W/"{order}.{data["health"] or "-"}.{actions}"'
    if not task.snapshot.ended:
        response.headers["Retry-After"] = str(retry_after_s(task.snapshot, now=now))
    no_store(response)
    return response


def retry_after_s(snapshot: Snapshot, *, now: float) -> int:
    """Return after how many whole seconds the client should poll again, from 1 to 15."""
    if snapshot.state is State.RETRYING and snapshot.due_at is not None:
        delay_s = snapshot.due_at - now
    elif snapshot.remaining_s is not None:
        delay_s = snapshot.remaining_s / POLLS_TO_THE_END
    elif snapshot.usual_s is not None and snapshot.started_at is not None:
        delay_s = snapshot.usual_s[0] / POLLS_TO_THE_END
    else:
        # Only the task's age is known: the older it is, the less often it is worth polling.
        delay_s = (now - (snapshot.started_at or snapshot.created_at)) / POLLS_TO_THE_END
    return max(MIN_RETRY_S, min(MAX_RETRY_S, math.ceil(delay_s) if math.isfinite(delay_s) else MAX_RETRY_S))
