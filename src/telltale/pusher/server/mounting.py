"""Mounts the stand-in server where `TELLTALE["PUSHER_APPS"]` says that there are apps: in a site and in `serve`."""

from telltale import conf
from telltale.pusher.app_registry import registry
from telltale.pusher.server.application import PusherApplication
from telltale.transports.http import Application


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
