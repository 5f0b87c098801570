"""The rights of a consumer's visitor, as they are now: the scope only knows how they were at connect.

A consumer outlives the logout of its user. So the session and the user are read anew for every check, and the request
for `pages.permissions` is made from both. Everything here runs in a thread, because it uses the ORM. Nothing is
written: a check in the background must not end or renew a session, as Django's own `get_user` may.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import import_module
from io import BytesIO
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model, load_backend
from django.contrib.auth.models import AnonymousUser
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from telltale import conf
from telltale.pages.permissions import followable

Scope = Mapping[str, Any]


def allowed_topics(request: HttpRequest, topics: Collection[str]) -> frozenset[str]:
    """Return the topics that the visitor may follow now."""
    return frozenset(followable(request, topics))


def request_now(scope: Scope, current_user: Callable[[HttpRequest], Any]) -> HttpRequest:
    """Return a request like that which opened the consumer, with the session and the user as they are now.

    It has the headers, the cookies and the query of the handshake, and `request.scope`.
    """
    request: Any = ASGIRequest({**scope, "type": "http", "method": "GET"}, BytesIO())
    session = session_now(scope)
    if session is not None:
        request.session = session
    request.user = current_user(request)
    return request  # type: ignore[no-any-return]


def session_now(scope: Scope) -> Any:
    """Return the session as it is stored now: empty and without a key if it has ended; None if the scope has none."""
    opened = scope.get("session")
    if opened is None:
        return None
    session = import_module(settings.SESSION_ENGINE).SessionStore(opened.session_key)
    session.get(SESSION_KEY)  # Reads it: a session that is not stored any more loses its key.
    return session


def user_now(scope: Scope, session: Any) -> Any:
    """Return the user of the consumer as of now: `AnonymousUser` after a logout, or if the account was disabled.

    If the user came from the session, the session decides. If they came from elsewhere, such as a token, only their
    account can be looked at.
    """
    opened = scope.get("user")
    if opened is None or not opened.is_authenticated:
        return AnonymousUser()
    user = _user_of(session) if _is_from_session(scope, opened) else _active_user(opened.pk)
    return user if user is not None and user.pk == opened.pk else AnonymousUser()


def _is_from_session(scope: Scope, user: Any) -> bool:
    # The session of the scope was read at connect and is not read again, so it still names its user after a logout.
    opened = scope.get("session")
    return opened is not None and opened.get(SESSION_KEY) == user._meta.pk.value_to_string(user)


def _user_of(session: Any) -> Any:
    """Return the user whom the session signs in, or None."""
    path, user_id = session.get(BACKEND_SESSION_KEY), session.get(SESSION_KEY)
    if user_id is None or path not in settings.AUTHENTICATION_BACKENDS:
        return None
    user = load_backend(path).get_user(user_id)
    known = session.get(HASH_SESSION_KEY) or ""
    if hasattr(user, "get_session_auth_hash") and not any(
        constant_time_compare(known, valid) for valid in _auth_hashes(user)
    ):
        return None
    return user


def _auth_hashes(user: Any) -> Iterator[str]:
    """Yield the hashes that a session of this user may have: they change with the password."""
    yield user.get_session_auth_hash()
    yield from user.get_session_auth_fallback_hash()


def _active_user(pk: Any) -> Any:
    """Return the user with this key, or None if there is none or the account is disabled."""
    # Where users are written: a replica, to which a router may send other reads, lags.
    user = get_user_model()._default_manager.using(conf.settings().database).filter(pk=pk).first()
    return user if getattr(user, "is_active", True) else None
