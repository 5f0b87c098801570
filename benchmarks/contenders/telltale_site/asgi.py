"""The ASGI application, for the contenders that run in the site's own uvicorn."""

from telltale.asgi import get_asgi_application

app = get_asgi_application()
