"""The entry of all connections and of all messages to workers."""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

import telltale.asgi

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

# First, because the consumers need Django's apps.
django_application = get_asgi_application()

import by_hand.routing  # noqa: E402
import with_telltale.routing  # noqa: E402

sockets = [*by_hand.routing.sockets, *with_telltale.routing.sockets]

application = telltale.asgi.get_asgi_application(
    ProtocolTypeRouter(
        {
            "http": ASGIStaticFilesHandler(django_application),
            "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(sockets))),
            "channel": ChannelNameRouter({**by_hand.routing.tasks, **with_telltale.routing.tasks}),
        }
    )
)
