"""Whose a task is: a signed-in person, an anonymous session, or nobody.

`Owner.of` turns what callers have (a request, a user, None) into one value. The middleware remembers the
present request's owner, so that a plain `.delay()` or `.enqueue()` in a view makes a task that its asker
may follow. A session's key is a secret, so only a digest of it is stored, published or signed.
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
    """At most one of the two is set; neither is nobody."""

    user_id: Any = None
    session: str = ""

    @property
    def topic(self) -> str | None:
        """The topic of their tasks and notices; None for nobody."""
        if self.user_id is not None:
            return user_topic(self.user_id)
        return session_topic(self.session) if self.session else None

    def owns(self, task: "Owned") -> bool:
        """Whether the task belongs to this user or session. False for neither, also of a task without an owner."""
        return self.topic is not None and self.topic == task.owner_topic

    @classmethod
    def of(cls, asker: Any, *, create_session: bool = False) -> Self:
        """The owner that a request, a user, another Owner or None stands for.

        A wrapper around Django's request, such as Django REST framework's, is a request too: its `user` counts.
        `create_session`: give an anonymous request a session if it has none, so that it can own a task.
        """
        if asker is None or isinstance(asker, cls):
            return asker or cls()
        request = django_request(asker)
        if request is None:
            if getattr(asker, "pk", None) is None:
                raise TypeError(f"owner={asker!r} is nobody who can own a task: give a saved user, a request or None.")
            return cls(user_id=asker.pk)
        user = getattr(asker, "user", getattr(request, "user", None))
        if user is not None and user.is_authenticated:
            return cls(user_id=user.pk)
        session = getattr(request, "session", None)
        if session is None:
            return cls()
        if session.session_key is None and create_session:
            session.create()
        return cls(session=session_digest(session.session_key) if session.session_key else "")


def django_request(asker: Any) -> HttpRequest | None:
    """Django's own request: `asker` itself, or what it wraps as `_request`; None if it is no request."""
    if isinstance(asker, HttpRequest):
        return asker
    wrapped = getattr(asker, "_request", None)
    return wrapped if isinstance(wrapped, HttpRequest) else None


def session_digest(key: str) -> str:
    """What stands for a session's key wherever others might read it: 40 hexadecimal digits."""
    return salted_hmac("telltale.session", key, algorithm="sha256").hexdigest()[:40]


CURRENT_OWNER: Final = object()
"""As an `owner=`: whoever the present request or task belongs to, or nobody outside of both."""

_asker: ContextVar[Any] = ContextVar("telltale_asker", default=None)


def resolve_owner(owner: Any) -> Owner:
    """What a caller's `owner=` stands for: `CURRENT_OWNER`, or whatever `Owner.of` takes."""
    return current_owner() if owner is CURRENT_OWNER else Owner.of(owner, create_session=True)


def current_owner() -> Owner:
    """The owner of what is enqueued here without saying whose it is; within a request, its asker."""
    return Owner.of(_asker.get(), create_session=True)


@contextmanager
def owned_by(asker: Any) -> Iterator[None]:
    """Within it, whatever is enqueued belongs to `asker` (a request, a user, an Owner or None)."""
    token = _asker.set(asker)
    try:
        yield
    finally:
        _asker.reset(token)


class OwnerMiddleware:
    """Makes the asker of a request the owner of what its view enqueues. Sync and async; after sessions and auth."""

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
