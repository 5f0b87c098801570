"""`get_asgi_application`, in place of Django's: that one line serves the live transports.

Imported by a site's `asgi.py` before Django is set up, so nothing here needs models. For uvicorn,
`--timeout-graceful-shutdown 10` bounds what an open request could still hold up, and
`--ws telltale.server:WebSocketProtocol` serves the sockets at a fifth of the cost (docs/performance.md);
with uvicorn's own class, `--ws-per-message-deflate false` saves much memory for no gain.
"""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.asgi import get_asgi_application as django_asgi_application

from telltale.live.application import Telltale
from telltale.transports.http import Application


def get_asgi_application(application: Application | None = None) -> Telltale:
    """Telltale's live address, and `application` for all else; by default Django's, which is set up here.

    Where DEBUG is on, Django's also serves the static files that `runserver` would. An `application` that is
    given is left as it is.
    """
    django_application: Any = django_asgi_application()
    if application is None:
        return Telltale(_with_static_files(django_application))
    return Telltale(application, owns_lifespan=False)


def _with_static_files(application: Any) -> Any:
    """As `runserver` does it, for servers that know nothing of static files; in development alone."""
    if not (settings.DEBUG and settings.STATIC_URL and apps.is_installed("django.contrib.staticfiles")):
        return application
    # Imported late: the finders need Django to be set up.
    from telltale.server.static_files import StaticFiles

    return StaticFiles(application)
