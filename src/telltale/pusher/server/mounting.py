"""Mounts the stand-in server where `TELLTALE["PUSHER_APPS"]` says that there are apps: in a site and in `serve`.

Sockets bypass ASGI in the live server: `add_to_live_server` registers both ways.
"""

from functools import partial
from typing import TYPE_CHECKING

from telltale import conf
from telltale.pusher.app_registry import registry
from telltale.pusher.server.application import PusherApplication
from telltale.pusher.server.paths import app_key_of_target, with_slash
from telltale.server import routes
from telltale.transports.http import Application

if TYPE_CHECKING:
    from telltale.pusher.server.metrics import PusherMetrics


def has_apps() -> bool:
    """Whether this project serves apps."""
    return conf.settings().pusher_apps is not None


def mount(application: Application) -> Application:
    """Return an application that also serves the apps of the settings, if there are any.

    Raises `ImproperlyConfigured` if the apps of the settings are wrong.
    """
    if not has_apps():
        return application
    registry()
    return PusherApplication(application, conf.settings().pusher_path)


def add_to_live_server() -> None:
    """Have `telltale serve` serve the apps of the settings; harmless when repeated, and if there are none."""
    if has_apps():
        routes.add(mount)
        routes.add_sockets(find_socket)
        routes.add_metrics(_metrics)


def _metrics() -> "PusherMetrics":
    # Imported late: it needs the `server` extra.
    from telltale.pusher.server.metrics import PusherMetrics

    return PusherMetrics()


def find_socket(path: str, root_path: str) -> routes.MakeSocket | None:
    """Return what serves a client's socket without ASGI; None if the path is another."""
    key = app_key_of_target(path, root_path, with_slash(conf.settings().pusher_path))
    if key is None:
        return None
    # Imported late: it needs the `server` extra.
    from telltale.pusher.server.live_socket import LiveSocket

    return partial(LiveSocket, key=key)
