"""The self-test: a page that examines what lies between the operator's browser and the site (`<prefix>/self-test/`).

For staff, and for all visitors while `DEBUG` is on; others get a 404. In English only. The page sends itself events by
each transport: a POST publishes one, as a request or a task does, and the page waits for its arrival.
`manage.py telltale doctor` examines the server's side.
"""

import re
from secrets import token_hex
from typing import Any, Final

from django.conf import settings as django_settings
from django.http import Http404, HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from telltale import conf
from telltale.core.wire import Malformed
from telltale.live import tickets
from telltale.messages import publish
from telltale.pages.browser_files import module_files
from telltale.pages.guards import for_visitors
from telltale.pages.permissions import is_staff
from telltale.pages.responses import json_body, json_error, no_store, wants_page

EVENT: Final = "self-test"

_TOPIC: Final = re.compile(r"self-test:[0-9a-f]{32}")


@require_http_methods(["GET", "HEAD", "POST"])
def _self_test(request: HttpRequest) -> HttpResponseBase:
    """The page; a POST with {"topic": …, "mark": …} publishes an event with that mark."""
    if not (django_settings.DEBUG or is_staff(getattr(request, "user", None))):
        if wants_page(request):
            raise Http404
        return no_store(json_error(404, "The self-test is for staff."))
    if request.method == "POST":
        return _publish(request)
    return no_store(render(request, "telltale/self_test.html", {"data": _page_data(request)}))


def _publish(request: HttpRequest) -> HttpResponseBase:
    try:
        body = json_body(request)
    except Malformed as error:
        return json_error(400, str(error))
    topic, mark = body.get("topic"), body.get("mark")
    if not isinstance(topic, str) or not _TOPIC.fullmatch(topic) or not isinstance(mark, int):
        return json_error(400, 'The body is not {"topic": "self-test:…", "mark": a number}.')
    publish(topic, EVENT, {"mark": mark})
    return no_store(JsonResponse({"published": mark}))


def _page_data(request: HttpRequest) -> dict[str, Any]:
    topic = f"self-test:{token_hex(16)}"
    return {
        "topic": topic,
        "ticket": tickets.issue([topic]),
        "csrf": get_token(request),
        "has_broker": bool(conf.settings().broker),
        "urls": {
            "live": reverse("telltale:live"),
            "publish": reverse("telltale:self_test"),
            "modules": [static(f"telltale/{file}") for file in module_files()],
        },
    }


self_test = for_visitors(_self_test)
