"""The views of web push: a browser is added or removed, and gets the service worker that shows the messages.

The visitor's session knows its browser, so that a sign-out removes it (`sign_out`), and so that pages know whether the
browser must be renewed, such as after a new password. A page also renews it daily, which writes nothing to the session:
that would make the session last longer.
"""

from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from telltale import store
from telltale.authentication import user_of
from telltale.core.push import SERVICES, Subscription
from telltale.core.wire import Malformed
from telltale.live import rights
from telltale.owners import Owner, django_request
from telltale.pages.guards import for_anyone, for_visitors
from telltale.pages.responses import json_body, json_error, no_store
from telltale.push import options as push_options

NAME_IN_SESSION: Final = "telltale_push"
"""The key of the session's data for its browser: a digest of its address, its person's topic, a digest that changes
with the password, and until when the browser is kept."""

_WORKER: Final = Path(push_options.__file__).with_name("service-worker.js")


@partial(for_visitors, is_walled=False)
@require_POST
def subscribe(request: HttpRequest) -> HttpResponseBase:
    """Add or renew the visitor's browser. The body is the `PushSubscription` as JSON."""
    used, topic = push_options.options(), Owner.of(request).topic
    if used is None or topic is None or not hasattr(request, "session"):
        return no_store(json_error(404, _("This site sends no push messages to you.")))
    try:
        subscription = Subscription.read(json_body(request), used.services)
    except Malformed as error:
        return no_store(json_error(400, str(error)))
    former = request.session.get(NAME_IN_SESSION, {})
    entry = {"digest": subscription.digest, "topic": topic, "auth": _auth(request)}
    is_known = entry.items() <= former.items()
    is_extended = not is_known or django_settings.SESSION_SAVE_EVERY_REQUEST
    until = request.session.get_expiry_date().timestamp() if is_extended else former["until"]
    session = next(iter(rights.session_digests(request.session)), "")
    try:
        is_added = store.add_push(topic, subscription, auth=entry["auth"], session=session, until=until)
    except store.TooManyBrowsers:
        return no_store(json_error(429, _("Too many browsers at once. Try again in a minute.")))
    if not is_added:
        return no_store(json_error(409, _("This address belongs to another browser.")))
    if former and former["digest"] != subscription.digest:
        store.delete_push_of(digests=[former["digest"]])
    if not is_known:
        request.session[NAME_IN_SESSION] = {**entry, "until": until}
    return no_store(JsonResponse({"subscribed": True}))


@partial(for_visitors, is_walled=False)
@require_POST
def unsubscribe(request: HttpRequest) -> HttpResponseBase:
    """Remove a browser. Its keys prove that it is this one, so it does not matter which user is signed in."""
    try:
        subscription = Subscription.read(json_body(request), _services())
    except Malformed as error:
        return no_store(json_error(400, str(error)))
    store.delete_push(subscription)
    if hasattr(request, "session"):
        request.session.pop(NAME_IN_SESSION, None)
    return no_store(JsonResponse({"subscribed": False}))


@for_anyone
@require_safe
def worker(request: HttpRequest) -> HttpResponseBase:
    """The service worker. Its folder is its scope, so it controls no page of the site."""
    response = HttpResponse(_worker_source(), content_type="text/javascript; charset=utf-8")
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def page_data(request: HttpRequest) -> dict[str, Any]:
    """Return what a page's scripts need for web push: {"push": {…}}; {} without it, and for a visitor who can own no
    task."""
    used, owner = push_options.options(), Owner.of(request)
    if used is None or owner.topic is None:
        return {}
    try:
        key = used.public_key
    except (ImportError, ValueError):
        # `check` reports it. The page works without.
        return {}
    urls = {name: reverse(f"telltale:push_{name}") for name in ("worker", "subscribe", "unsubscribe")}
    return {"push": {"key": key, **urls, "known": _known(request, owner.topic)}}


def digests_of(session: Any) -> list[str]:
    """Return the digest of the session's browser, if it has one."""
    entry = session.get(NAME_IN_SESSION) if session is not None else None
    return [entry["digest"]] if entry else []


def _known(request: HttpRequest, topic: str) -> str:
    """Whether the session knows its browser: "none", "current", or "old": it must be renewed after a new password."""
    inner = django_request(request)
    entry = getattr(inner, "session", {}).get(NAME_IN_SESSION)
    if not entry or entry["topic"] != topic:
        return "none"
    if entry["until"] < store.now() and not django_settings.SESSION_SAVE_EVERY_REQUEST:
        return "none"
    return "current" if entry["auth"] == _auth(request) else "old"


def _auth(request: HttpRequest) -> str:
    """The digest of the session auth hash, which changes with the user's password; empty for an anonymous visitor."""
    inner = django_request(request)
    bearer = rights.bearer_of(inner, user_of(inner, request)) if inner is not None else None
    return bearer.auth if bearer is not None else ""


def _services() -> tuple[str, ...]:
    used = push_options.options()
    return SERVICES if used is None else used.services


@cache
def _worker_source() -> str:
    return _WORKER.read_text(encoding="utf-8")
