"""What the server tells the scripts of a page: ticket, times, limits, addresses, CSRF token and texts.

`{% telltale %}` writes it into the page. A page that Django does not render, such as a single-page app's, fetches it as
JSON.
"""

from functools import partial
from typing import Any, Final

from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import get_token
from django.urls import reverse
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from telltale import store
from telltale.conf import settings
from telltale.live.application import LiveApplication
from telltale.models import TaskState
from telltale.owners import django_request
from telltale.pages import browser_files, catalogue, permissions, push
from telltale.pages.guards import for_visitors
from telltale.pages.responses import no_store
from telltale.pusher.publisher import page_options

PLACE_OF_ID: Final = "00000000-0000-0000-0000-000000000000"
"""Placeholder for an id in the URLs that the page gets."""


def page_data(request: HttpRequest, shared: tuple[TaskState, ...] = ()) -> dict[str, Any]:
    """Return the data block of the page: ticket, times, limits, URLs, CSRF token and texts."""
    service = page_options.service()
    if service is not None:
        # The visitor's own topic covers their own tasks. Another channel would bring each update twice, and be billed.
        shared = tuple(task for task in shared if not permissions.is_owner(request, task))
    ticket = permissions.page_ticket(request, [task.pk for task in shared])
    hides_cookie = django_settings.CSRF_USE_SESSIONS or django_settings.CSRF_COOKIE_HTTPONLY
    return {
        **ticket.to_json(),
        **({} if service is None else {"pusher": service}),
        # Under WSGI, and under ASGI with Django's own application, the page polls at once.
        "can_hold": LiveApplication.is_mounted and isinstance(django_request(request), ASGIRequest),
        "share": settings().share_streams,
        "now": store.now(),
        "limits": settings().limits.to_json(),
        "urls": {
            "live": reverse("telltale:live"),
            "ticket": reverse("telltale:ticket"),
            "tasks": reverse("telltale:tasks"),
            "task": reverse("telltale:task", args=[PLACE_OF_ID]),
            "cancel": reverse("telltale:cancel", args=[PLACE_OF_ID]),
            "retry": reverse("telltale:retry", args=[PLACE_OF_ID]),
            "messages": reverse("telltale:messages"),
            "take": reverse("telltale:take_notice", args=[PLACE_OF_ID]),
        },
        "csrf": {"token": get_token(request), "cookie": None if hides_cookie else django_settings.CSRF_COOKIE_NAME},
        **push.page_data(request),
        **({"icons": browser_files.urls_of_icons()} if settings().favicon else {}),
        "language": get_language() or "",
        "texts": catalogue.catalogue(),
    }


@partial(for_visitors, is_walled=False)
@require_safe
def page(request: HttpRequest) -> HttpResponseBase:
    """The data of a page that Django does not render."""
    return no_store(JsonResponse(page_data(request)))
