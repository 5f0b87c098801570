"""Events that one connection does not receive: the page that causes a change often shows it already.

    with excluding(request):  # laravel-echo sends the header X-Socket-ID
        telltale.publish("room:7", "message.added", {"id": 3})

A task gets the id as an argument, and uses `excluding(socket_id)`. Only a site's own events are affected: snapshots
and notices reach all pages. Only the broker `pusher://` knows connections of a Pusher service; others ignore it.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from telltale.owners import django_request

HEADER: Final = "X-Socket-ID"

_FORM: Final = re.compile(r"[0-9]{1,32}\.[0-9]{1,32}")

_excluded: ContextVar[str | None] = ContextVar("telltale_pusher_excluded", default=None)


def is_socket_id(text: object) -> bool:
    """Whether `text` has the form of a connection's id."""
    return isinstance(text, str) and _FORM.fullmatch(text) is not None


@contextmanager
def excluding(source: Any) -> Iterator[None]:
    """Within this context, events that are published do not reach one connection.

    `source`: a connection's id; a request, whose header `X-Socket-ID` is used if it has a valid one; or None, for no
    connection. Raises `ValueError` for other text. An event in a transaction keeps the context until the commit.
    """
    token = _excluded.set(_socket_id(source))
    try:
        yield
    finally:
        _excluded.reset(token)


def excluded() -> str | None:
    """Return the id of the connection that does not receive events published here; None for no connection."""
    return _excluded.get()


def _socket_id(source: Any) -> str | None:
    request = django_request(source)
    if request is not None:
        given = request.headers.get(HEADER)
        return given if is_socket_id(given) else None
    if source is not None and not is_socket_id(source):
        raise ValueError(
            f"excluding({source!r:.80}) names no connection: pass an id such as '123.456', a request, or None."
        )
    return source if isinstance(source, str) else None
