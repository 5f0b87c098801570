"""Who asks: the user of a request, also where no session but a token says so.

`TELLTALE["AUTHENTICATION"]` lists dotted paths. Each finds the user of a request, or none:

- a class of Django REST framework, such as "rest_framework.authentication.TokenAuthentication"
- a class or instance of django-ninja, such as "mysite.api.BearerAuth", that returns a user
- a function `request -> user`, or None

They are asked in order; if none finds a user, the session decides (`request.user`). Each is asked first without the
request's cookies. So it is known whether cookies say who asks: then another site's page could have sent the request,
and the views check the CSRF token.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest
from django.utils.module_loading import import_string

from telltale import conf


class AuthenticationRefused(Exception):
    """The request names a user wrongly, such as by a token that has expired. `status`: 401 or 403.

    The message is for people; empty if the authenticator has none.
    """

    def __init__(self, status: int, message: str, challenge: str) -> None:
        super().__init__(message)
        self.status = status
        self.challenge = challenge
        """The value of `WWW-Authenticate`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks."""

    user: Any = None
    """None for an anonymous visitor."""
    is_from_cookie: bool = True
    """Whether cookies say so, which a browser also sends with the requests of other sites' pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticator:
    """One entry of the setting."""

    find: Callable[[HttpRequest], Any]
    """Returns what the class or function returns; raises what it raises."""
    challenge: Callable[[HttpRequest], str | None]


def find_asker(request: HttpRequest) -> Asker:
    """Return who asks. Raises `AuthenticationRefused`."""
    if not conf.settings().authentication:
        return Asker(user=_signed_in(getattr(request, "user", None)))
    user = _user_without_cookies(request)
    if user is not None:
        return Asker(user=user, is_from_cookie=False)
    if request.COOKIES:
        user = _first_user(request)
    user = user or _signed_in(getattr(request, "user", None))
    if user is None:
        _refuse_unknown_credentials(request)
    return Asker(user=user)


def user_of(request: HttpRequest, wrapper: Any) -> Any:
    """Return the user of a view's request, None if anonymous.

    `wrapper`: the request as the view has it, such as Django REST framework's: its user counts, not the cookies.
    """
    if wrapper is not request:
        return _signed_in(wrapper.user if hasattr(wrapper, "user") else request.user) or _or_none(request)
    try:
        return find_asker(request).user
    except AuthenticationRefused:
        # The view has let the visitor in, whatever these credentials are.
        return _signed_in(getattr(request, "user", None))


def challenge_of(request: HttpRequest) -> str:
    """Return the value of `WWW-Authenticate`: of the first entry that has one."""
    challenges = (authenticator(path).challenge(request) for path in conf.settings().authentication)
    return next(filter(None, challenges), "Bearer")


@cache
def authenticator(path: str) -> Authenticator:
    """Return an entry of the setting, ready for use; raises `ImportError` or `ImproperlyConfigured`."""
    target: Any = import_string(path)
    if isinstance(target, type):
        target = target()
    if callable(target):
        return Authenticator(find=target, challenge=lambda request: "Bearer")
    if not hasattr(target, "authenticate"):
        raise ImproperlyConfigured(f"{path} is {target!r}, which is no function and has no method authenticate.")
    from rest_framework.request import Request

    return Authenticator(
        find=lambda request: target.authenticate(Request(request)),
        challenge=lambda request: target.authenticate_header(Request(request)),
    )


def _user_without_cookies(request: Any) -> Any:
    """The user that the authenticators find without cookies; found once for each request."""
    if not conf.settings().authentication:
        return None
    if not hasattr(request, "_telltale_user"):
        with _cookies_hidden(request):
            request._telltale_user = _first_user(request)
    return request._telltale_user


def _or_none(request: HttpRequest) -> Any:
    try:
        return _user_without_cookies(request)
    except AuthenticationRefused:
        return None


def _first_user(request: HttpRequest) -> Any:
    """The user of the first authenticator that finds one; None if none does."""
    for path in conf.settings().authentication:
        user = _find(path, authenticator(path), request)
        if user is not None:
            return user
    return None


def _find(path: str, entry: Authenticator, request: HttpRequest) -> Any:
    user_before = getattr(request, "user", None)
    try:
        found = entry.find(request)
        if inspect.isawaitable(found):
            found = async_to_sync(_await)(found)
    except Exception as error:
        status = 403 if isinstance(error, PermissionDenied) else getattr(error, "status_code", None)
        if status not in (401, 403):
            raise
        raise AuthenticationRefused(status, str(error), entry.challenge(request) or "") from error
    if isinstance(found, tuple):
        found = found[0]  # Django REST framework: the user, and what proves it
    if not found:
        return None
    user_after = getattr(request, "user", None)
    # Some authenticators return a token or a payload, and set the request's user.
    for candidate in (found, user_after if user_after is not user_before else None):
        if getattr(candidate, "pk", None) is not None and hasattr(candidate, "is_authenticated"):
            return _signed_in(candidate)
    raise ImproperlyConfigured(
        f"TELLTALE['AUTHENTICATION']: {path} returned {found!r:.80}, which is no user. Return a saved user, or None."
    )


def _refuse_unknown_credentials(request: HttpRequest) -> None:
    """Raise `AuthenticationRefused` if the request has credentials of a kind that some entry should have known."""
    scheme = request.headers.get("Authorization", "").partition(" ")[0].lower()
    for path in conf.settings().authentication:
        challenge = authenticator(path).challenge(request) or ""
        if scheme and scheme == challenge.partition(" ")[0].lower():
            raise AuthenticationRefused(401, "", challenge)


async def _await(found: Any) -> Any:
    return await found


def _signed_in(user: Any) -> Any:
    return user if user is not None and user.is_authenticated else None


@contextmanager
def _cookies_hidden(request: Any) -> Iterator[None]:
    """Within it, the request is as it would be without cookies: no session, and an anonymous user."""
    from django.contrib.auth.models import AnonymousUser  # This module is imported before the apps are ready.

    meta = {name: value for name, value in request.META.items() if name != "HTTP_COOKIE"}
    hidden = {"COOKIES": {}, "user": AnonymousUser(), "META": meta, "session": SessionBase()}
    hidden["_dont_enforce_csrf_checks"] = True  # Without cookies, there is nothing to protect.
    # What is derived from cookies, and Django's note that the CSRF token was checked.
    derived = ("headers", "_cached_user", "csrf_processing_done")
    attributes: dict[str, Any] = request.__dict__
    kept = {name: attributes[name] for name in (*hidden, *derived) if name in attributes}
    try:
        for name in derived:
            attributes.pop(name, None)
        attributes.update(hidden)
        yield
    finally:
        for name in (*hidden, *derived):
            attributes.pop(name, None)
        attributes.update(kept)
