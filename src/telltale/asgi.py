"""`get_asgi_application`, in place of Django's: that one line serves the live transports.

Imported by a site's `asgi.py` before Django is set up, so nothing here needs models. For uvicorn,
`--timeout-graceful-shutdown 10` bounds what an open request could still hold up, and
`--ws telltale.server:WebSocketProtocol` serves the sockets at a fifth of the cost (docs/performance.md);
with uvicorn's own class, `--ws-per-message-deflate false` saves much memory for no gain.
"""

from typing import Any

from django.core.asgi import get_asgi_application as django_asgi_application

from telltale.live.application import Telltale
from telltale.transports.http import Application


def get_asgi_application(application: Application | None = None) -> Telltale:
    """Telltale's live address, and `application` for all else; by default Django's, which is set up here."""
    django_application: Any = django_asgi_application()
    return Telltale(application or django_application, owns_lifespan=application is None)
