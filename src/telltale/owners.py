"""Owners of tasks: a signed-in user, an anonymous session, or neither.

`Owner.of` converts a request, a user or None to an `Owner`. The middleware makes the visitor the current owner during
a request, so that a plain `.delay()` or `.enqueue()` in a view creates a task that the visitor owns and can follow. A
session's key is a secret, so only a digest of it is stored, published or signed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import salted_hmac

from telltale.core.topics import session_topic, user_topic


class Owned(Protocol):
    """What an owner can own: a row of `models.TaskState`."""

    @property
    def owner_topic(self) -> str | None:
        """The topic of its owner; None if it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A user or an anonymous session; at most one is set. Neither: the task has no owner."""

    user_id: Any = None
    session: str = ""

    @property
    def topic(self) -> str | None:
        """The topic of the owner's tasks and notices; None if neither is set."""
        if self.user_id is not None:
            return user_topic(self.user_id)
        return session_topic(self.session) if self.session else None

    def owns(self, task: Owned) -> bool:
        """Whether the task belongs to this user or session; False if neither is set."""
        return self.topic is not None and self.topic == task.owner_topic

    @classmethod
    def of(cls, source: Any, *, create_session: bool = False) -> Self:
        """Return the owner for a request, a user, an `Owner` or None.

        A wrapper of Django's request, such as Django REST framework's, is accepted too; its `user` is used.
        `create_session`: create a session for an anonymous request without one, so that it can own a task.
        """
        if source is None or isinstance(source, cls):
            return source or cls()
        request = django_request(source)
        if request is None:
            if getattr(source, "pk", None) is None:
                raise TypeError(f"owner={source!r} can't own a task: pass a saved user, a request or None.")
            return cls(user_id=source.pk)
        user = getattr(source, "user", getattr(request, "user", None))
        if user is not None and user.is_authenticated:
            return cls(user_id=user.pk)
        session = getattr(request, "session", None)
        if session is None:
            return cls()
        if session.session_key is None and create_session:
            session.create()
        return cls(session=session_digest(session.session_key) if session.session_key else "")


def django_request(source: Any) -> HttpRequest | None:
    """Return Django's request: `source` itself, or the one it wraps as `_request`; None if there is none."""
    if isinstance(source, HttpRequest):
        return source
    wrapped = getattr(source, "_request", None)
    return wrapped if isinstance(wrapped, HttpRequest) else None


def session_digest(key: str) -> str:
    """Return the public digest of a session's secret key: 40 hexadecimal digits."""
    return salted_hmac("telltale.session", key, algorithm="sha256").hexdigest()[:40]


CURRENT_OWNER: Final = object()
"""Default of `owner=`: the owner of the current request or task; no owner outside of both."""

_current: ContextVar[Any] = ContextVar("telltale_owner", default=None)


def resolve_owner(owner: Any) -> Owner:
    """Return the owner for an `owner=` argument: `CURRENT_OWNER`, or a value that `Owner.of` takes."""
    return current_owner() if owner is CURRENT_OWNER else Owner.of(owner, create_session=True)


def current_owner() -> Owner:
    """Return the owner of tasks that are enqueued here without `owner=`; within a request, the visitor."""
    return Owner.of(_current.get(), create_session=True)


@contextmanager
def owned_by(owner: Any) -> Iterator[None]:
    """Tasks that are enqueued within this context belong to `owner`: a request, a user, an `Owner` or None."""
    token = _current.set(owner)
    try:
        yield
    finally:
        _current.reset(token)


class OwnerMiddleware:
    """Makes the visitor the owner of the tasks that a view enqueues.

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
            return self.get_response(request)

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        with owned_by(request):
            response: HttpResponseBase = await self.get_response(request)
            return response
