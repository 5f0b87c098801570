"""A site with Channels routing, whose live address is mounted around it, inside it, or at a wrong path.

Served by real servers: `tests.channels.site:around`, `:inside`, `:misplaced`.
"""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

import telltale.asgi
from telltale.channels import live_application

# Django is set up here: consumers need its models.
django_application = get_asgi_application()

from telltale.channels import relay  # noqa: E402
from telltale.channels.follow import follower  # noqa: E402
from tests.channels.project import routes  # noqa: E402

follower.RECHECK_S = (1.0, 2.0)  # A test waits for it.

if "CHANNELS_REDIS" in os.environ:
    relay("room-{}", topic="room:{}")

around = telltale.asgi.get_asgi_application(
    ProtocolTypeRouter(
        {
            "http": django_application,
            "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(routes))),
        }
    )
)

inside = ProtocolTypeRouter(
    {
        "http": AuthMiddlewareStack(
            URLRouter([path("telltale/live/", live_application()), re_path("", django_application)])
        ),
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter([path("telltale/live/", live_application()), *routes]))
        ),
    }
)

misplaced = ProtocolTypeRouter(
    {
        "http": URLRouter([path("live/", live_application()), re_path("", django_application)]),
        "websocket": URLRouter([path("live/", live_application())]),
    }
)
