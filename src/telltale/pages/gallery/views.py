"""The views of the gallery, under `<prefix>/gallery/` while `DEBUG` is on; otherwise they do not exist.

The page runs the real elements. In place of the site's live address it polls one that answers with the samples, and
its tickets and messages are granted without a check: nothing here is anybody's.

    ?scripts=off        as without JavaScript
    ?scheme=dark        the site's colour scheme: light or dark
    ?dir=rtl            right to left
    ?messages=on        four messages appear as toasts
    ?speed=4            moving and recorded runs, this many times as fast: 0.1 to 100
    ?connection=polling as behind a server that can't hold connections
"""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from django.conf import settings as django_settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt

from telltale import conf, store
from telltale.core.protocol import VERSION
from telltale.core.wire import LEVELS, Notice
from telltale.owners import Owner
from telltale.pages.gallery.samples import Sample, samples
from telltale.pages.responses import json_body, no_store

POLL_S: Final = 0.5
MIN_SPEED: Final = 0.1
MAX_SPEED: Final = 100.0

View = Callable[..., HttpResponseBase]


def _in_development(view: View) -> View:
    """A view that exists while `DEBUG` is on."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not django_settings.DEBUG:
            raise Http404
        return no_store(view(request, *args, **kwargs))

    return login_not_required(csrf_exempt(guarded))


@_in_development
def gallery(request: HttpRequest) -> HttpResponse:
    """Every state of a task, and the other elements."""
    owner, now = _owner(request), store.now()
    groups = {
        heading: [(it.title, it.task(now, owner)) for it in group] for heading, group in _samples(request).items()
    }
    query = f"?{request.GET.urlencode()}" if request.GET else ""
    urls = {
        "live": reverse("telltale:gallery_live") + query,
        "ticket": reverse("telltale:gallery_ticket"),
        "take": reverse("telltale:gallery_take", args=[UUID(int=0)]),
    }
    return render(
        request,
        "telltale/gallery.html",
        {
            "groups": groups,
            "urls": urls,
            "has_scripts": request.GET.get("scripts") != "off",
            "scheme": request.GET.get("scheme") if request.GET.get("scheme") in {"light", "dark"} else "light dark",
            "direction": "rtl" if request.GET.get("dir") == "rtl" else "",
            "speed": _speed(request),
            "min_speed": MIN_SPEED,
            "max_speed": MAX_SPEED,
            "others": {key: value for key, value in request.GET.items() if key != "speed"},
        },
    )


@_in_development
def live(request: HttpRequest) -> HttpResponse:
    """The answer to a poll: all samples as they are now."""
    if "text/event-stream" in request.headers.get("Accept", ""):
        return HttpResponse(status=406)
    is_held = request.GET.get("connection") != "polling"
    if is_held and json_body(request).get("wait_s"):
        time.sleep(POLL_S)
    owner, now = _owner(request), store.now()
    tasks = [it.task(now, owner).snapshot.to_json() for group in _samples(request).values() for it in group]
    answer = {
        "type": "poll",
        "v": VERSION,
        "now": now,
        "expires_at": now + 3_600,
        "limits": conf.settings().limits.to_json(),
        "tasks": tasks,
        "notices": [notice.to_json() for notice in _notices(request, owner, now)],
        "events": [],
        "poll_after_s": 0 if is_held else POLL_S,
    }
    return JsonResponse(answer)


@_in_development
def ticket(request: HttpRequest) -> HttpResponse:
    """A ticket for whatever was requested. It is not signed: no other view takes it."""
    topics = [topic for topic in json_body(request).get("topics", []) if isinstance(topic, str)]
    return JsonResponse({"ticket": "gallery", "topics": topics, "expires_at": store.now() + 3_600})


@_in_development
def take_notice(request: HttpRequest, notice_id: str) -> HttpResponse:
    """Every page may show the gallery's messages."""
    return JsonResponse({"granted": True, "shown": True, "confirm_within_s": 10.0})


def _notices(request: HttpRequest, owner: Owner, now: float) -> list[Notice]:
    if request.GET.get("messages") != "on":
        return []
    return [
        Notice(
            id=str(uuid5(NAMESPACE_URL, f"telltale:gallery:{level}")),
            topic=owner.topic or "session:gallery",
            level=level,
            text=f"A message of the level “{level}”.",
            url="/airports/",
            created_at=now - 5,
        )
        for level in LEVELS
    ]


def _owner(request: HttpRequest) -> Owner:
    """The visitor, who owns all samples, so that the page shows their buttons."""
    return Owner.of(request, create_session=True)


def _samples(request: HttpRequest) -> dict[str, list[Sample]]:
    return samples(speed=_speed(request))


def _speed(request: HttpRequest) -> float:
    try:
        speed = float(request.GET.get("speed", 1.0))
    except ValueError:
        return 1.0
    return speed if MIN_SPEED <= speed <= MAX_SPEED else 1.0
