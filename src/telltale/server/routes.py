"""Other protocols on the live server's port, beside the live address.

Rooms that this one must not import register here, when Django starts: ASGI applications, and classes that serve
sockets without ASGI at a fraction of the cost. Imports no server library.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from telltale.transports.http import Application

if TYPE_CHECKING:
    from prometheus_client.registry import Collector
    from uvicorn.server import ServerState

    from telltale.server.socket_protocol import SocketProtocol

Wrapper = Callable[[Application], Application]
"""Returns an application that serves some addresses itself and leaves all others to the given one."""

MakeSocket = Callable[["ServerState"], "SocketProtocol"]
"""Returns a protocol for one connection, whose handshake was parsed already."""

SocketFinder = Callable[[str, str], MakeSocket | None]
"""Takes the path of a handshake and uvicorn's `root_path`; returns what serves that path, or None."""

MakeCollector = Callable[[], "Collector"]
"""Returns the metrics of another protocol; they are collected on the server's event loop."""

_wrappers: dict[Wrapper, None] = {}
_socket_finders: dict[SocketFinder, None] = {}
_collectors: dict[MakeCollector, None] = {}


def add(wrapper: Wrapper) -> None:
    """Serve what the wrapper's application serves; harmless when repeated."""
    _wrappers[wrapper] = None


def are_there() -> bool:
    """Whether the live server serves anything beside the live address."""
    return bool(_wrappers)


def wrap(application: Application) -> Application:
    """Return an application that serves all that was added, and leaves all else to `application`."""
    for wrapper in _wrappers:
        application = wrapper(application)
    return application


def add_sockets(finder: SocketFinder) -> None:
    """Serve sockets at the finder's paths without ASGI, where the server allows it; harmless when repeated."""
    _socket_finders[finder] = None


def find_socket(path: str, root_path: str) -> MakeSocket | None:
    """Return what serves sockets at this path; None if ASGI does."""
    for finder in _socket_finders:
        if (make_socket := finder(path, root_path)) is not None:
            return make_socket
    return None


def add_metrics(make_collector: MakeCollector) -> None:
    """Show these metrics too; harmless when repeated."""
    _collectors[make_collector] = None


def collectors() -> "list[Collector]":
    """Return the metrics that were added."""
    return [make_collector() for make_collector in _collectors]
