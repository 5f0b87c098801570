"""The guards of the views: other origins, login walls, who asks, and the CSRF token where cookies say so.

`for_visitors`, `for_tickets` and `for_anyone` decorate the views. All answer browsers that ask whether another origin
may use the view. Django's own checks come first for other views; here the order is: the asker, the
wall, the token. So a program with a token passes the wall, and needs no CSRF token.
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, Final

from django.conf import settings as django_settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from telltale import conf
from telltale.authentication import AuthenticationRefused, challenge_of, find_asker
from telltale.core import origins, reasons
from telltale.core.policy import Grant
from telltale.live import rights, tickets
from telltale.live.access import is_trusted_origin
from telltale.pages.responses import json_error, no_store, wants_page
from telltale.transports.base import http_status
from telltale.transports.http import LiveRequest, bearer_token

View = Callable[..., HttpResponseBase]

SAFE: Final = {"GET", "HEAD", "OPTIONS", "TRACE"}

OWN: Final = [("X-Content-Type-Options", "nosniff"), ("Cross-Origin-Resource-Policy", "same-origin")]
"""No page of another site loads a response as a script, an image or a style. `fetch` is for `ALLOWED_ORIGINS`."""

SENT_BY_BROWSERS: Final = {"basic", "digest", "negotiate", "ntlm"}
"""Credentials that a browser repeats by itself, as it does with cookies, also for another site's page."""


def for_visitors(view: View, *, is_walled: bool = True) -> View:
    """A view for a signed-in user or an anonymous session. `request.user` is who asks.

    `is_walled`: behind `LoginRequiredMiddleware`, anonymous visitors are sent to the login page.
    """
    with_csrf_check = csrf_protect(view)

    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            asker = find_asker(request)
        except AuthenticationRefused as refusal:
            return _refuse_credentials(refusal.status, str(refusal), refusal.challenge)
        if asker.user is not None:
            request.user = asker.user
        if is_walled and (answer := _wall_refusal(request, view, args, kwargs)) is not None:
            return answer
        if asker.is_from_cookie:
            return with_csrf_check(request, *args, **kwargs)
        if request.method not in SAFE and _is_from_foreign_page(request):
            return no_store(json_error(403, _("This origin may not use this address.")))
        return view(request, *args, **kwargs)

    return _for_origins(guarded, view)


def for_anyone(view: View) -> View:
    """A view that decides itself."""
    return _for_origins(view, view)


def for_tickets(view: View, *, is_with_session: bool = False) -> View:
    """A view that is authorized by the ticket in `Authorization`; the wall is ignored.

    A ticket whose user has lost the rights is refused as an expired one; that is a query. `is_with_session`: so is the
    ticket of a signed-in page without its session, or after that has ended. Otherwise cookies are ignored.
    """

    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            grant = tickets.verify(bearer_token(request.headers.get("Authorization", "")))
        except tickets.TicketRefused as refusal:
            return refuse_ticket(refusal.reason)
        if (is_with_session and _has_signed_out(request, grant)) or _has_lost_rights(grant):
            return refuse_ticket(reasons.EXPIRED)
        return no_store(view(request, grant, *args, **kwargs))

    return _for_origins(guarded, view)


def _has_signed_out(request: HttpRequest, grant: Grant) -> bool:
    """Whether the ticket was issued to a user's session, and the request's session is not this user's."""
    bearer = grant.bearer
    return bearer is not None and bool(bearer.auth) and not rights.is_signed_in_as(request, bearer.user)


def _has_lost_rights(grant: Grant) -> bool:
    return grant.bearer is not None and bool(rights.ended([grant.bearer]))


def refuse_ticket(reason: reasons.Reason) -> HttpResponseBase:
    """Return a refusal as the live address sends it."""
    bye = {"type": "bye", "code": reason.code, "reason": reason.word, "again": reason.again}
    return no_store(JsonResponse(bye, status=http_status(reason)))


# Other origins


def _for_origins(guarded: View, view: View) -> View:
    """Answer preflights, which carry no credentials, and add the headers for other origins to each response."""

    @login_not_required
    @csrf_exempt
    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        allowed, origin = conf.settings().allowed_origins, request.headers.get("Origin", "")
        if allowed and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            requested = request.headers.get("Access-Control-Request-Headers", "")
            response: HttpResponseBase = HttpResponse(status=204)
            return _with_headers(response, origins.preflight_headers(origin, allowed, requested=requested))
        return _with_headers(guarded(request, *args, **kwargs), [*OWN, *origins.cors_headers(origin, allowed)])

    return without_transaction(answered)


def without_transaction(view: View) -> View:
    """Exempt the view from `ATOMIC_REQUESTS`, under which a page that only reads would wait for SQLite's write lock."""
    for alias in connections.settings:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


def _with_headers(response: HttpResponseBase, headers: list[origins.Header]) -> HttpResponseBase:
    for name, value in headers:
        if name == "Vary":
            patch_vary_headers(response, [value])
        else:
            response.headers[name] = value
    return response


def _is_from_foreign_page(request: HttpRequest) -> bool:
    """Whether the page of another site sent the request, with credentials that it need not know."""
    origin, is_secure = request.headers.get("Origin", ""), request.is_secure()
    live_request = LiveRequest(host=request.get_host(), origin=origin, is_secure=is_secure)
    scheme = request.headers.get("Authorization", "").partition(" ")[0].lower()
    return scheme in SENT_BY_BROWSERS and not is_trusted_origin(live_request, is_any_enough=False)


# Walls and credentials


def _wall_refusal(request: HttpRequest, view: View, args: Any, kwargs: Any) -> HttpResponseBase | None:
    """The answer of the site's login wall to this visitor; None if the visitor passes."""
    for wall in _walls(tuple(django_settings.MIDDLEWARE)):
        refusal: HttpResponseBase | None = wall.process_view(request, view, args, kwargs)
        if refusal is not None and conf.settings().authentication and not wants_page(request):
            return _refuse_credentials(401, "", challenge_of(request))
        if refusal is not None:
            return refusal
    return None


@cache
def _walls(paths: tuple[str, ...]) -> list[LoginRequiredMiddleware]:
    found = [import_string(path) for path in paths]
    walls = [item for item in found if isinstance(item, type) and issubclass(item, LoginRequiredMiddleware)]
    return [wall(lambda request: HttpResponse()) for wall in walls]


def _refuse_credentials(status: int, message: str, challenge: str) -> HttpResponseBase:
    response = no_store(json_error(status, message or _("Sign in, or send valid credentials.")))
    if status == 401 and challenge:
        response.headers["WWW-Authenticate"] = challenge
    return response
