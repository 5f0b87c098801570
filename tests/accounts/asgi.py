"""The site's ASGI application."""

from telltale.asgi import get_asgi_application

application = get_asgi_application()
