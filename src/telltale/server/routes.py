"""Other protocols on the live server's port, beside the live address.

Rooms that this one must not import register here, when Django starts. Imports no server library.
"""

from collections.abc import Callable

from telltale.transports.http import Application

Wrapper = Callable[[Application], Application]
"""Returns an application that serves some addresses itself and leaves all others to the given one."""

_wrappers: dict[Wrapper, None] = {}


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
