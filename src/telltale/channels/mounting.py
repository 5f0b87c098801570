"""The live address inside a project's own Channels routing.

    "http": URLRouter([path("telltale/live/", live_application()), re_path("", django_application)]),
    "websocket": AuthMiddlewareStack(URLRouter([path("telltale/live/", live_application()), …])),

Or around the whole routing, which costs a connection nothing of the project's middleware:

    application = telltale.asgi.get_asgi_application(ProtocolTypeRouter({…}))
"""

import logging

from telltale.live.access import live_path
from telltale.live.application import LiveApplication
from telltale.transports.http import Receive, Scope, Send, send_response

logger = logging.getLogger(__name__)


def live_application() -> LiveApplication:
    """Return an ASGI application for one route of a `URLRouter`, at the path where the site's URLs have `live/`.

    Under another path nobody would find it: such a request is refused, and the log names the right path.
    """
    return LiveApplication(_refuse, owns_lifespan=False)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse what came to the wrong path."""
    path = live_path()
    fix = (
        f"pages use {path}: write path({path.lstrip('/')!r}, live_application())."
        if path
        else 'add path("telltale/", include("telltale.urls")) to the urlpatterns of ROOT_URLCONF.'
    )
    logger.error("live_application() was asked for %s, which is not the live address: %s", scope.get("path"), fix)
    if scope["type"] == "websocket":
        await receive()
        return await send({"type": "websocket.close", "code": 1008})
    if scope["type"] == "http":
        return await send_response(
            send, 404, '{"error":"This is not the live address; the server\'s log has the fix."}'
        )
    raise ValueError(f"live_application() serves HTTP and WebSockets, not {scope['type']!r}.")
