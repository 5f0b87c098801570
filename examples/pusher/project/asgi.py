"""The entry of all connections: pages, and the stand-in at /app/KEY and /apps/ID."""

import os

from telltale.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

application = get_asgi_application()
