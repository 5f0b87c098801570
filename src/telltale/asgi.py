"""`get_asgi_application`, used in place of Django's, also serves the live address.

A site's `asgi.py` imports this module before Django is set up, so nothing here needs models. Advice for uvicorn:
`--timeout-graceful-shutdown 10` bounds the time for which open requests delay a shutdown, and
`--ws telltale.server:WebSocketProtocol` serves the sockets at a fifth of the cost (docs/performance.md). With
uvicorn's own class, `--ws-per-message-deflate false` saves much memory and loses nothing.
"""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.asgi import get_asgi_application as django_asgi_application

from telltale.live.application import LiveApplication
from telltale.transports.http import Application


def get_asgi_application(application: Application | None = None) -> Application:
    """Return an ASGI application that serves the live address itself and leaves all else to `application`.

    `application` is Django's by default; under DEBUG it then also serves the static files that `runserver` would.
    Django is set up in any case. If TELLTALE["PUSHER_APPS"] is set, clients of Pusher are served too.
    """
    django_application: Any = django_asgi_application()
    # Imported late: the apps of the settings need Django to be set up.
    from telltale.pusher.server.mounting import mount

    if application is None:
        return mount(LiveApplication(_with_static_files(django_application)))
    return mount(LiveApplication(application, owns_lifespan=False))


def _with_static_files(application: Any) -> Any:
    """Return the application with static files if DEBUG is on, for servers that do not serve them."""
    if not (settings.DEBUG and settings.STATIC_URL and apps.is_installed("django.contrib.staticfiles")):
        return application
    # Imported late: the finders need Django to be set up.
    from telltale.static_files import StaticFiles

    return StaticFiles(application)
