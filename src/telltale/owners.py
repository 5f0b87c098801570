"""Owners of tasks: a signed-in user, an anonymous session, or neither.

`Owner.of` converts a request, a user or None to an `Owner`. The middleware makes the visitor the current owner during
a request, so that a plain `.delay()` or `.enqueue()` in a view creates a task that the visitor owns and can follow.

An anonymous session has a name of its own in its data, under `NAME_IN_SESSION`. So it keeps its tasks when its key or
`SECRET_KEY` changes, also where sessions are kept in cookies. At sign-in, `pages.sign_in` gives them to the user. The
name is a digest of the session's first key, which is a secret and is never stored, published or signed; it is random
where sessions have no key on the server.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.contrib.sessions.backends import signed_cookies
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control
from django.utils.crypto import salted_hmac

from telltale.authentication import user_of
from telltale.core.topics import session_topic, user_topic

NAME_IN_SESSION: Final = "telltale_owner"
"""The key under which a session's data hold the name of the session as an owner."""


class Owned(Protocol):
    """What an owner can own: a row of `models.TaskState`."""

    @property
    def owner_topic(self) -> str | None:
        """The topic of its owner; None if it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A user, an anonymous session, or neither: then the task has no owner.

    Both: the session owned the task until its visitor signed in as the user, who owns it now.
    """

    user_id: Any = None
    session: str = ""
    """The name of the session."""
    earlier_sessions: tuple[str, ...] = ()
    """Other names under which the session may own tasks: digests of its key by `SECRET_KEY_FALLBACKS`."""

    @property
    def topic(self) -> str | None:
        """The topic of the owner's tasks and notices; None if neither is set."""
        return self.topics[0] if self.topics else None

    @property
    def topics(self) -> tuple[str, ...]:
        """Its topic, and those of its earlier names: pages from before a sign-in follow the session's."""
        user = () if self.user_id is None else (user_topic(self.user_id),)
        return (*user, *(session_topic(name) for name in (self.session, *self.earlier_sessions) if name))

    def owns(self, task: Owned) -> bool:
        """Whether the task belongs to this user or session; False if neither is set."""
        return task.owner_topic is not None and task.owner_topic in self.topics

    @classmethod
    def of(cls, source: Any, *, create_session: bool = False) -> Self:
        """Return the owner for a request, a user, an `Owner` or None.

        A wrapper of Django's request, such as Django REST framework's, is accepted too; its `user` is used. For others
        the user is found as `TELLTALE["AUTHENTICATION"]` says.
        `create_session`: give an anonymous request's session a name, so that it can own a task.
        """
        if source is None or isinstance(source, cls):
            return source or cls()
        request = django_request(source)
        if request is None:
            if getattr(source, "pk", None) is None:
                raise TypeError(f"owner={source!r} can't own a task: pass a saved user, a request or None.")
            return cls(user_id=source.pk)
        user = user_of(request, source)
        if user is not None:
            return cls(user_id=user.pk)
        name, *earlier_names = session_names(request, create=create_session) or [""]
        return cls(session=name, earlier_sessions=tuple(earlier_names))


def session_names(request: HttpRequest, *, create: bool = False) -> list[str]:
    """Return the names under which the request's session may own tasks, its own first; none without a session.

    `create`: give it a name, which is kept in its data.
    """
    session = getattr(request, "session", None)
    if session is None:
        return []
    own_name = session.get(NAME_IN_SESSION)
    if create and not own_name and not session.session_key and not is_kept_in_cookie(session):
        session.create()
    digest, *earlier_digests = key_digests(session, session.session_key) or [""]
    # While there is no name, the digest stands for it, so requests at the same time agree on one.
    name = own_name or digest or (secrets.token_hex(20) if create else "")
    if create and name != own_name:
        session[NAME_IN_SESSION] = name
    return list(dict.fromkeys([name, *earlier_digests])) if name else []


def key_digests(session: Any, key: str | None) -> list[str]:
    """Return the names that such a session has by its key: by `SECRET_KEY` first, then by its fallbacks."""
    if not key or is_kept_in_cookie(session):
        return []
    return [session_digest(key, secret=secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


def is_kept_in_cookie(session: Any) -> bool:
    """Whether the key is the content: it changes with each save, and two visitors may have the same."""
    return isinstance(session, signed_cookies.SessionStore)


def django_request(source: Any) -> HttpRequest | None:
    """Return Django's request: `source` itself, or the one it wraps as `_request`; None if there is none."""
    if isinstance(source, HttpRequest):
        return source
    wrapped = getattr(source, "_request", None)
    return wrapped if isinstance(wrapped, HttpRequest) else None


def session_digest(key: str, *, secret: str | bytes | None = None) -> str:
    """Return the public digest of a session's secret key: 40 hexadecimal digits. `secret`: None for `SECRET_KEY`."""
    return salted_hmac("telltale.session", key, secret=secret, algorithm="sha256").hexdigest()[:40]


CURRENT_OWNER: Final = object()
"""Default of `owner=`: the owner of the current request or task; no owner outside of both."""

_current: ContextVar[tuple[Any]] = ContextVar("telltale_owner", default=(None,))
"""The owner, in a tuple of its own for each `owned_by`."""


def resolve_owner(owner: Any) -> Owner:
    """Return the owner for an `owner=` argument: `CURRENT_OWNER`, or a value that `Owner.of` takes."""
    return current_owner() if owner is CURRENT_OWNER else Owner.of(owner, create_session=True)


def current_owner() -> Owner:
    """Return the owner of tasks that are enqueued here without `owner=`; within a request, the visitor."""
    return Owner.of(_current.get()[0], create_session=True)


@contextmanager
def owned_by(owner: Any) -> Iterator[None]:
    """Tasks that are enqueued within this context belong to `owner`: a request, a user, an `Owner` or None."""
    outer, here = _current.get(), (owner,)
    _current.set(here)
    is_here = True
    try:
        yield
    except GeneratorExit:
        # A generator was left early. It may be finalized much later, while this thread serves another visitor.
        is_here = _current.get() is here
        raise
    finally:
        if is_here:
            _current.set(outer)


def note_ticket(request: object) -> None:
    """Note that the response to this request has a ticket, so no cache may keep it."""
    inner = django_request(request)
    if inner is not None:
        setattr(inner, _HAS_TICKET, True)


_HAS_TICKET: Final = "telltale_has_ticket"
_SITE_CACHE: Final = "django.middleware.cache.UpdateCacheMiddleware"


def _forbid_storing(request: HttpRequest, response: HttpResponseBase) -> None:
    """Forbid storing a response with a ticket, unless the site has decided itself on caching."""
    if not getattr(request, _HAS_TICKET, False) or response.has_header("Cache-Control"):
        return
    if _SITE_CACHE not in settings.MIDDLEWARE:
        patch_cache_control(response, no_store=True, private=True)


class OwnerMiddleware:
    """Makes the visitor the owner of the tasks that a view enqueues, and keeps pages with a ticket out of caches.

    Place it after the session and authentication middleware. Supports sync and async.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self._acall(request)
        with owned_by(request):
            response: HttpResponseBase = self.get_response(request)
        _forbid_storing(request, response)
        return response

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        with owned_by(request):
            response: HttpResponseBase = await self.get_response(request)
        _forbid_storing(request, response)
        return response
